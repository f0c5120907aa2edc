# Replaces the functions of the vDSO. stub.go has it assembled:
# as stub.asm; objcopy -O binary -j .text. TestStub compares them.
#
# The state page is the one before this code: the wall clock in nanoseconds at
# 0, what to take from it for the monotonic one at 8, and at 16 by how much a
# reading moves it on.
	.text
state = . - 4096

clock_gettime:
	cmpl $11, %edi          # CLOCK_TAI
	ja 9f
	movl $0x08f3, %eax      # REALTIME, MONOTONIC, the RAW and COARSE ones, BOOTTIME, TAI
	btl %edi, %eax
	jnc 9f
	lea state(%rip), %r8
	mov 16(%r8), %rax
	lock xadd %rax, (%r8)
	movl $0x00d2, %edx      # MONOTONIC, MONOTONIC_RAW, MONOTONIC_COARSE, BOOTTIME
	btl %edi, %edx
	jnc 1f
	sub 8(%r8), %rax
1:	xorl %edx, %edx
	movl $1000000000, %ecx
	div %rcx
	mov %rax, (%rsi)
	mov %rdx, 8(%rsi)
	xorl %eax, %eax
	ret
9:	movl $228, %eax
	syscall
	ret

	.balign 128
gettimeofday:
	lea state(%rip), %r8
	mov 16(%r8), %rax
	lock xadd %rax, (%r8)
	test %rdi, %rdi
	jz 2f
	xorl %edx, %edx
	movl $1000000000, %ecx
	div %rcx
	mov %rax, (%rdi)
	mov %rdx, %rax
	xorl %edx, %edx
	movl $1000, %ecx
	div %rcx
	mov %rax, 8(%rdi)
2:	test %rsi, %rsi
	jz 3f
	movq $0, (%rsi)
3:	xorl %eax, %eax
	ret

	.balign 128
time:
	lea state(%rip), %r8
	mov 16(%r8), %rax
	lock xadd %rax, (%r8)
	xorl %edx, %edx
	movl $1000000000, %ecx
	div %rcx
	test %rdi, %rdi
	jz 4f
	mov %rax, (%rdi)
4:	ret
	.balign 128
