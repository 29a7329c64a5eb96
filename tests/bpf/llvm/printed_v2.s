# SPDX-License-Identifier: Apache-2.0
# What LLVM 22.1.0 prints for the IR below with -mcpu=v2, and the bytes it makes of the same:
#
#   target = llvmlite.binding.Target.from_triple("bpfel").create_target_machine(cpu="v2", opt=1)
#   target.emit_assembly(module), target.emit_object(module)   # llvm-objcopy -O binary -j .text
#
# bytes: bf30000000000000bf130000000000000f2300000000000027030000110000003f2300000000000097030000e8030000
# bytes: a7030000ffffffff7f23000000000000c70300000300000047030000ff0000001f310000000000006704000020000000
# bytes: 67000000250000005f40000000000000c7000000200000007704000020000000cf400000000000006700000020000000
# bytes: 77000000200000000f1000000000000018010000efcdab8900000000674523010f100000000000009500000000000000
# bytes: 6114080000000000b70300004d00000063310800000000006113040000000000bf250000000000007705000020000000
# bytes: 6351040000000000711000000000000063210000000000006915feff000000007321feff0000000061110c0000000000
# bytes: 67010000200000004f410000000000006700000038000000c7000000380000000f500000000000006703000020000000
# bytes: c7030000200000000f300000000000000f100000000000009500000000000000bf26000000000000bf17000000000000
# bytes: 7d670100000000002506040064000000bf710000000000005701000008000000bf700000000000005501020000000000
# bytes: 85000000050000005d60faff00000000bf010000000000006701000020000000c701000020000000c5010100faffffff
# bytes: b7000000010000009500000000000000bf20000000000000dc03000020000000dc000000100000000f30000000000000
# bytes: dc040000400000000f400000000000009500000000000000
#
# ir: target triple = "bpfel"
# ir:
# ir: declare i16 @llvm.bswap.i16(i16)
# ir: declare i32 @llvm.bswap.i32(i32)
# ir: declare i64 @llvm.bswap.i64(i64)
# ir:
# ir: define i64 @arithmetic(i64 %a, i64 %b, i32 %c, i32 %d) {
# ir:   %1 = add i64 %a, %b
# ir:   %2 = mul i64 %1, 17
# ir:   %3 = udiv i64 %2, %b
# ir:   %4 = urem i64 %3, 1000
# ir:   %5 = xor i64 %4, -1
# ir:   %6 = lshr i64 %5, %b
# ir:   %7 = ashr i64 %6, 3
# ir:   %8 = or i64 %7, 255
# ir:   %9 = sub i64 %8, %a
# ir:   %10 = shl i32 %c, 5
# ir:   %11 = and i32 %10, %d
# ir:   %12 = ashr i32 %11, %d
# ir:   %13 = zext i32 %12 to i64
# ir:   %14 = sub i64 0, %9
# ir:   %15 = add i64 %13, %14
# ir:   %16 = add i64 %15, 81985529216486895
# ir:   ret i64 %16
# ir: }
# ir:
# ir: define i64 @memory(ptr %p, i64 %v) {
# ir:   %1 = load i8, ptr %p
# ir:   %q = getelementptr i8, ptr %p, i64 -2
# ir:   %2 = load i16, ptr %q
# ir:   %r = getelementptr i8, ptr %p, i64 4
# ir:   %3 = load i32, ptr %r
# ir:   %s = getelementptr i8, ptr %p, i64 8
# ir:   %4 = load i64, ptr %s
# ir:   %5 = trunc i64 %v to i8
# ir:   store i8 %5, ptr %q
# ir:   %6 = trunc i64 %v to i16
# ir:   store i16 %6, ptr %r
# ir:   store i32 77, ptr %s
# ir:   store i64 %v, ptr %p
# ir:   %7 = sext i8 %1 to i64
# ir:   %8 = zext i16 %2 to i64
# ir:   %9 = sext i32 %3 to i64
# ir:   %10 = add i64 %7, %8
# ir:   %11 = add i64 %10, %9
# ir:   %12 = add i64 %11, %4
# ir:   ret i64 %12
# ir: }
# ir:
# ir: define i64 @jumps(i64 %a, i64 %b) {
# ir:   %slt = icmp slt i64 %a, %b
# ir:   br i1 %slt, label %l1, label %l2
# ir: l1:
# ir:   %u = icmp ugt i64 %b, 100
# ir:   br i1 %u, label %l3, label %l2
# ir: l2:
# ir:   %bit = and i64 %a, 8
# ir:   %z = icmp eq i64 %bit, 0
# ir:   br i1 %z, label %l3, label %l4
# ir: l3:
# ir:   %h = call i64 inttoptr (i64 5 to ptr)()
# ir:   %n = icmp ne i64 %h, %b
# ir:   br i1 %n, label %l2, label %l4
# ir: l4:
# ir:   %w = phi i64 [ %a, %l2 ], [ %h, %l3 ]
# ir:   %t = trunc i64 %w to i32
# ir:   %c32 = icmp sgt i32 %t, -7
# ir:   br i1 %c32, label %l5, label %l6
# ir: l5:
# ir:   ret i64 1
# ir: l6:
# ir:   ret i64 %w
# ir: }
# ir:
# ir: define i64 @swaps(ptr %p, i16 %a, i32 %b, i64 %c) {
# ir:   %1 = call i16 @llvm.bswap.i16(i16 %a)
# ir:   %2 = call i32 @llvm.bswap.i32(i32 %b)
# ir:   %3 = call i64 @llvm.bswap.i64(i64 %c)
# ir:   %4 = zext i16 %1 to i64
# ir:   %5 = zext i32 %2 to i64
# ir:   %6 = add i64 %4, %5
# ir:   %7 = add i64 %6, %3
# ir:   ret i64 %7
# ir: }
	.file	"<string>"
	.text
	.globl	arithmetic
	.p2align	3
	.type	arithmetic,@function
arithmetic:
	.cfi_startproc
	r0 = r3
	r3 = r1
	r3 += r2
	r3 *= 17
	r3 /= r2
	r3 %= 1000
	r3 ^= -1
	r3 >>= r2
	r3 s>>= 3
	r3 |= 255
	r1 -= r3
	r4 <<= 32
	r0 <<= 37
	r0 &= r4
	r0 s>>= 32
	r4 >>= 32
	r0 s>>= r4
	r0 <<= 32
	r0 >>= 32
	r0 += r1
	r1 = 81985529216486895 ll
	r0 += r1
	exit
.Lfunc_end0:
	.size	arithmetic, .Lfunc_end0-arithmetic
	.cfi_endproc

	.globl	memory
	.p2align	3
	.type	memory,@function
memory:
	.cfi_startproc
	r4 = *(u32 *)(r1 + 8)
	r3 = 77
	*(u32 *)(r1 + 8) = r3
	r3 = *(u32 *)(r1 + 4)
	r5 = r2
	r5 >>= 32
	*(u32 *)(r1 + 4) = r5
	r0 = *(u8 *)(r1 + 0)
	*(u32 *)(r1 + 0) = r2
	r5 = *(u16 *)(r1 - 2)
	*(u8 *)(r1 - 2) = r2
	r1 = *(u32 *)(r1 + 12)
	r1 <<= 32
	r1 |= r4
	r0 <<= 56
	r0 s>>= 56
	r0 += r5
	r3 <<= 32
	r3 s>>= 32
	r0 += r3
	r0 += r1
	exit
.Lfunc_end1:
	.size	memory, .Lfunc_end1-memory
	.cfi_endproc

	.globl	jumps
	.p2align	3
	.type	jumps,@function
jumps:
	.cfi_startproc
	r6 = r2
	r7 = r1
	if r7 s>= r6 goto LBB2_2
	if r6 > 100 goto LBB2_3
LBB2_2:
	r1 = r7
	r1 &= 8
	r0 = r7
	if r1 != 0 goto LBB2_4
LBB2_3:
	call 5
	if r0 != r6 goto LBB2_2
LBB2_4:
	r1 = r0
	r1 <<= 32
	r1 s>>= 32
	if r1 s< -6 goto LBB2_6
	r0 = 1
LBB2_6:
	exit
.Lfunc_end2:
	.size	jumps, .Lfunc_end2-jumps
	.cfi_endproc

	.globl	swaps
	.p2align	3
	.type	swaps,@function
swaps:
	.cfi_startproc
	r0 = r2
	r3 = be32 r3
	r0 = be16 r0
	r0 += r3
	r4 = be64 r4
	r0 += r4
	exit
.Lfunc_end3:
	.size	swaps, .Lfunc_end3-swaps
	.cfi_endproc
