import FunctionPluginKit
import Glibc
import LinuxDevices
import Testing

@testable import BlockFunctions

private let mebibyte: UInt64 = 1 << 20

@Test func theFirstGapThatFitsIsTaken() {
  var map = ExtentMap(diskSizeBytes: 10 * mebibyte)
  #expect(map.allocate(function: "a", sizeBytes: 2 * mebibyte)?.offsetBytes == 0)
  #expect(map.allocate(function: "b", sizeBytes: 4096)?.offsetBytes == 2 * mebibyte)
  #expect(map.allocate(function: "c", sizeBytes: mebibyte)?.offsetBytes == 3 * mebibyte)
  map.release(function: "a")
  #expect(map.allocate(function: "d", sizeBytes: 3 * mebibyte)?.offsetBytes == 4 * mebibyte)
  #expect(map.allocate(function: "e", sizeBytes: 2 * mebibyte)?.offsetBytes == 0)
  #expect(map.largestFreeBytes == 3 * mebibyte)
  #expect(map.allocate(function: "f", sizeBytes: 4 * mebibyte) == nil)
}

@Test func overlapsAndExtentsBeyondTheDiskAreNoMap() {
  func map(_ extents: (UInt64, UInt64)...) -> ExtentMap? {
    ExtentMap(
      diskSizeBytes: 100,
      extents: extents.enumerated().map { AllocatedExtent(function: "f\($0)", offsetBytes: $1.0, sizeBytes: $1.1) })
  }
  #expect(map((0, 50), (50, 50)) != nil)
  #expect(map((50, 50), (0, 50)) != nil)
  #expect(map((0, 51), (50, 50)) == nil)
  #expect(map((0, 101)) == nil)
  #expect(map((.max, 2)) == nil)
  #expect(map((0, 0)) == nil)
}

/// Any history of grants and releases: nothing overlaps, everything is on the disk, and what fits is granted.
@Test(arguments: 0..<200 as Range<UInt64>)
func noHistoryMakesExtentsOverlap(seed: UInt64) {
  var random = SplitMix(state: seed)
  var map = ExtentMap(diskSizeBytes: 64 * mebibyte + random.next() % mebibyte)
  for step in 0..<200 {
    if random.next() % 3 == 0, let victim = map.extents.randomElement(using: &random) {
      map.release(function: victim.function)
    } else {
      let size = (1 + random.next() % (8 * mebibyte / 4096)) * 4096
      let largest = map.largestFreeBytes
      #expect((map.allocate(function: "f\(step)", sizeBytes: size) != nil) == (size <= largest))
    }
    #expect(ExtentMap(diskSizeBytes: map.diskSizeBytes, extents: map.extents) == map)
    #expect(map.extents.allSatisfy { $0.offsetBytes % ExtentMap.alignmentBytes == 0 })
  }
}

private struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

private func withDirectory(_ body: (String) throws -> Void) throws {
  var template = Array("/tmp/iov-extents-XXXXXX".utf8CString)
  _ = mkdtemp(&template)
  let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  defer {
    for name in SmallFile.names(in: directory) { unlink("\(directory)/\(name)") }
    rmdir(directory)
  }
  try body(directory)
}

@Test func aTableIsReadBackAsItWas() throws {
  try withDirectory { directory in
    #expect(try ExtentTable.load(directory: directory, endNode: "sata/x", diskSizeBytes: 1 << 30)?.map == nil)
    var table = ExtentTable.first(directory: directory, endNode: "sata/x", diskSizeBytes: 1 << 30)
    let extent = try table.allocate(function: "sata/x/1", sizeBytes: 64 << 20)
    #expect(try table.allocate(function: "sata/x/1", sizeBytes: 64 << 20) == extent)
    #expect(throws: PluginError.self) { try table.allocate(function: "sata/x/1", sizeBytes: 32 << 20) }
    _ = try table.allocate(function: "sata/x/2", sizeBytes: 4096)
    try table.release(function: "sata/x/1")
    let loaded = try #require(try ExtentTable.load(directory: directory, endNode: "sata/x", diskSizeBytes: 1 << 30))
    #expect(loaded.map == table.map)
    #expect(loaded.map.extents.map(\.function) == ["sata/x/2"])
  }
}

@Test func aDamagedTableIsRefusedAtEveryByte() throws {
  try withDirectory { directory in
    var table = ExtentTable.first(directory: directory, endNode: "sata/x", diskSizeBytes: 1 << 30)
    _ = try table.allocate(function: "sata/x/1", sizeBytes: 64 << 20)
    let good = try SmallFile.read(table.path)
    for index in good.indices {
      var bad = good
      bad[index] ^= 1
      try SmallFile.replace(table.path, with: bad, durably: false)
      #expect(throws: PluginError.self) {
        try ExtentTable.load(directory: directory, endNode: "sata/x", diskSizeBytes: 1 << 30)
      }
      try SmallFile.replace(table.path, with: Array(good[..<index]), durably: false)
      #expect(throws: PluginError.self) {
        try ExtentTable.load(directory: directory, endNode: "sata/x", diskSizeBytes: 1 << 30)
      }
    }
  }
}

@Test func anotherDiskUnderTheSameNameIsRefused() throws {
  try withDirectory { directory in
    var table = ExtentTable.first(directory: directory, endNode: "sata/x", diskSizeBytes: 1 << 30)
    // Nobody's until something of it is given out.
    #expect(try ExtentTable.load(directory: directory, endNode: "sata/x", diskSizeBytes: 2 << 30)?.map == nil)
    _ = try table.allocate(function: "sata/x/1", sizeBytes: 4096)
    #expect(throws: PluginError.self) {
      try ExtentTable.load(directory: directory, endNode: "sata/x", diskSizeBytes: 2 << 30)
    }
  }
}
