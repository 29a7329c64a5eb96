# SPDX-License-Identifier: Apache-2.0
# What LLVM 22.1.0 prints for the IR below with -mcpu=v4, and the bytes it makes of the same:
#
#   target = llvmlite.binding.Target.from_triple("bpfel").create_target_machine(cpu="v4", opt=1)
#   target.emit_assembly(module), target.emit_object(module)   # llvm-objcopy -O binary -j .text
#
# bytes: bc30000000000000bf130000000000000f2300000000000027030000110000003f2300000000000097030000e8030000
# bytes: a7030000ffffffff7f23000000000000c70300000300000047030000ff0000001f310000000000006400000005000000
# bytes: 5c40000000000000cc400000000000000f1000000000000018010000efcdab8900000000674523010f10000000000000
# bytes: 9500000000000000bf230000000000007703000020000000811404000000000063310400000000006913feff00000000
# bytes: 911000000000000063210000000000007321feff000000006112080000000000620108004d00000061110c0000000000
# bytes: 67010000200000004f210000000000000f300000000000000f400000000000000f100000000000009500000000000000
# bytes: bf26000000000000bf170000000000007d670100000000002506040064000000bf710000000000005701000008000000
# bytes: bf70000000000000550102000000000085000000050000005d60faff00000000c6000100faffffffb700000001000000
# bytes: 9500000000000000bc20000000000000d703000020000000d7000000100000000f30000000000000d704000040000000
# bytes: 0f400000000000009500000000000000bc45000000000000bf5520000000000027050000555555557705000020000000
# bytes: 1c45000000000000bc54000000000000740400001f000000c4050000010000000c45000000000000bf24200000000000
# bytes: 3f320100000000009702010007000000bf220800000000000f4200000000000089110000000000000f12000000000000
# bytes: bf512000000000000f12000000000000bf210000000000008d030000000000009500000000000000bf20000000000000
# bytes: db01000001000000db010000e1000000bc34000000000000c3410000a1000000db210000f1000000bf02000000000000
# bytes: bc40000000000000c3310000f1000000db21000040000000c301000050000000c312000000010000db10000000010000
# bytes: c3210000100100000f20000000000000db010000100100009500000000000000
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
# ir:
# ir: define i64 @newer(ptr %p, i64 %a, i64 %b, i32 %c) {
# ir:   %1 = sdiv i64 %a, %b
# ir:   %2 = srem i64 %1, 7
# ir:   %c2 = sdiv i32 %c, -3
# ir:   %3 = trunc i64 %2 to i8
# ir:   %4 = sext i8 %3 to i64
# ir:   %5 = trunc i64 %a to i32
# ir:   %6 = sext i32 %5 to i64
# ir:   %7 = load i16, ptr %p
# ir:   %8 = sext i16 %7 to i64
# ir:   %9 = sext i32 %c2 to i64
# ir:   %10 = add i64 %4, %6
# ir:   %11 = add i64 %10, %8
# ir:   %12 = add i64 %11, %9
# ir:   %f = inttoptr i64 %b to ptr
# ir:   %13 = call i64 %f(i64 %12)
# ir:   ret i64 %13
# ir: }
# ir:
# ir: define i64 @atomics(ptr %p, i64 %a, i32 %b) {
# ir:   %1 = atomicrmw add ptr %p, i64 %a seq_cst
# ir:   %2 = atomicrmw xchg ptr %p, i64 %1 seq_cst
# ir:   %3 = atomicrmw xor ptr %p, i32 %b seq_cst
# ir:   %4 = cmpxchg ptr %p, i64 %2, i64 %a seq_cst seq_cst
# ir:   %5 = extractvalue { i64, i1 } %4, 0
# ir:   %6 = cmpxchg ptr %p, i32 %3, i32 %b seq_cst seq_cst
# ir:   %7 = extractvalue { i32, i1 } %6, 0
# ir:   %8 = atomicrmw or ptr %p, i64 %5 monotonic
# ir:   %9 = atomicrmw and ptr %p, i32 %7 monotonic
# ir:   %10 = load atomic i32, ptr %p acquire, align 4
# ir:   %11 = load atomic i64, ptr %p acquire, align 8
# ir:   %12 = zext i32 %10 to i64
# ir:   %13 = add i64 %11, %12
# ir:   store atomic i32 %10, ptr %p release, align 4
# ir:   store atomic i64 %13, ptr %p release, align 8
# ir:   ret i64 %13
# ir: }
	.file	"<string>"
	.text
	.globl	arithmetic
	.p2align	3
	.type	arithmetic,@function
arithmetic:
	.cfi_startproc
	w0 = w3
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
	w0 <<= 5
	w0 &= w4
	w0 s>>= w4
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
	r3 = r2
	r3 >>= 32
	r4 = *(s32 *)(r1 + 4)
	*(u32 *)(r1 + 4) = w3
	w3 = *(u16 *)(r1 - 2)
	r0 = *(s8 *)(r1 + 0)
	*(u32 *)(r1 + 0) = w2
	*(u8 *)(r1 - 2) = w2
	w2 = *(u32 *)(r1 + 8)
	*(u32 *)(r1 + 8) = 77
	w1 = *(u32 *)(r1 + 12)
	r1 <<= 32
	r1 |= r2
	r0 += r3
	r0 += r4
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
	if w0 s< -6 goto LBB2_6
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
	w0 = w2
	r3 = bswap32 r3
	r0 = bswap16 r0
	r0 += r3
	r4 = bswap64 r4
	r0 += r4
	exit
.Lfunc_end3:
	.size	swaps, .Lfunc_end3-swaps
	.cfi_endproc

	.globl	newer
	.p2align	3
	.type	newer,@function
newer:
	.cfi_startproc
	r5 = w4
	r5 = (s32)r5
	r5 *= 1431655765
	r5 >>= 32
	w5 -= w4
	w4 = w5
	w4 >>= 31
	w5 s>>= 1
	w5 += w4
	r4 = (s32)r2
	r2 s/= r3
	r2 s%= 7
	r2 = (s8)r2
	r2 += r4
	r1 = *(s16 *)(r1 + 0)
	r2 += r1
	r1 = (s32)r5
	r2 += r1
	r1 = r2
	callx r3
	exit
.Lfunc_end4:
	.size	newer, .Lfunc_end4-newer
	.cfi_endproc

	.globl	atomics
	.p2align	3
	.type	atomics,@function
atomics:
	.cfi_startproc
	r0 = r2
	r0 = atomic_fetch_add((u64 *)(r1 + 0), r0)
	r0 = xchg_64(r1 + 0, r0)
	w4 = w3
	w4 = atomic_fetch_xor((u32 *)(r1 + 0), w4)
	r0 = cmpxchg_64(r1 + 0, r0, r2)
	r2 = r0
	w0 = w4
	w0 = cmpxchg32_32(r1 + 0, w0, w3)
	lock *(u64 *)(r1 + 0) |= r2
	lock *(u32 *)(r1 + 0) &= w0
	w2 = load_acquire((u32 *)(r1 + 0))
	r0 = load_acquire((u64 *)(r1 + 0))
	store_release((u32 *)(r1 + 0), w2)
	r0 += r2
	store_release((u64 *)(r1 + 0), r0)
	exit
.Lfunc_end5:
	.size	atomics, .Lfunc_end5-atomics
	.cfi_endproc
