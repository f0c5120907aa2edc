struct item {
    const char *name;
    int stock;
};

const struct item *find_item(const char *name);
