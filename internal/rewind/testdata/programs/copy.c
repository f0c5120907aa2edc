void copy_name(char *to, int n)
{
	for (int i = 0; i < n; i++)
		to[i] = 'A' + i % 26;
}
