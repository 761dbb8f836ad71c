import Quantities
import Testing

@testable import iov

@Test(arguments: [
  ("1gbit", 1_000_000_000), ("250Mbit", 250_000_000), ("1.5gbit", 1_500_000_000), ("100000", 100_000), ("8bit", 8),
  ("10G", 10_000_000_000), ("0", 0),
])
func aRateIsRead(text: String, bitsPerSecond: UInt64) {
  #expect(BitRate(argument: text)?.bitsPerSecond == bitsPerSecond)
}

@Test(arguments: ["", "fast", "-1", "1gb", "1e9", "gbit", "99999999999tbit", "1.2.3mbit", "0x10"])
func whatIsNoRateIsRefused(text: String) {
  #expect(BitRate(argument: text) == nil)
}

@Test(
  arguments: [
    ("64MiB", 64 << 20), ("64M", 64 << 20), ("1.5GiB", 3 << 29), ("10GB", 10_000_000_000), ("4096", 4096),
    ("4096B", 4096), ("2tib", 2 << 40),
  ] as [(String, UInt64)])
func aSizeIsRead(text: String, bytes: UInt64) {
  #expect(ByteCount(argument: text)?.bytes == bytes)
}

@Test(arguments: ["", "big", "-1MiB", "1.0000001KiB1", "MiB", "99999999TiB"])
func whatIsNoSizeIsRefused(text: String) {
  #expect(ByteCount(argument: text) == nil)
}

@Test(arguments: [1, 1000, 1500, 50_000_000, 1_000_000_000, 12_345_678_901] as [UInt64])
func whatIsPrintedIsReadBack(value: UInt64) {
  #expect(BitRate(argument: formatBitRate(value))?.bitsPerSecond == value)
  #expect(ByteCount(argument: formatByteCount(value))?.bytes == value)
}

@Test func columnsAreAsWideAsTheirWidestCell() {
  #expect(table([["A", "LONG", "C"], ["wider", "x", ""]]) == ["A      LONG  C", "wider  x"])
}
