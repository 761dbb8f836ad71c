/// A run of a disk's bytes that belongs to one function.
struct Extent: Sendable, Hashable {
  var function: String
  var offsetBytes: UInt64
  var sizeBytes: UInt64

  var endBytes: UInt64 { offsetBytes + sizeBytes }
}

/// Which function has which part of a disk. No two parts overlap.
struct ExtentMap: Sendable, Hashable {
  /// Extents begin at multiples of this, whatever the sectors' size: flash erases and RAID stripes are aligned with it.
  static let alignmentBytes: UInt64 = 1 << 20

  let diskSizeBytes: UInt64
  /// By offset.
  private(set) var extents: [Extent] = []

  init(diskSizeBytes: UInt64) { self.diskSizeBytes = diskSizeBytes }

  /// nil if the extents overlap, leave the disk, are empty, or one function has two.
  init?(diskSizeBytes: UInt64, extents: [Extent]) {
    self.diskSizeBytes = diskSizeBytes
    self.extents = extents.sorted { $0.offsetBytes < $1.offsetBytes }
    var end: UInt64 = 0
    for extent in self.extents {
      let (last, overflow) = extent.offsetBytes.addingReportingOverflow(extent.sizeBytes)
      guard !overflow, extent.sizeBytes > 0, extent.offsetBytes >= end, last <= diskSizeBytes else { return nil }
      end = last
    }
    guard Set(extents.map(\.function)).count == extents.count else { return nil }
  }

  subscript(function: String) -> Extent? { extents.first { $0.function == function } }

  var usedBytes: UInt64 { extents.reduce(0) { $0 + $1.sizeBytes } }

  /// The first gap that is large enough, or nil.
  mutating func allocate(function: String, sizeBytes: UInt64) -> Extent? {
    precondition(sizeBytes > 0 && self[function] == nil)
    var start: UInt64 = 0
    for (index, next) in extents.enumerated() {
      if next.offsetBytes >= start, next.offsetBytes - start >= sizeBytes {
        return insert(Extent(function: function, offsetBytes: start, sizeBytes: sizeBytes), at: index)
      }
      start = aligned(next.endBytes)
    }
    guard start <= diskSizeBytes, diskSizeBytes - start >= sizeBytes else { return nil }
    return insert(Extent(function: function, offsetBytes: start, sizeBytes: sizeBytes), at: extents.count)
  }

  mutating func release(function: String) {
    extents.removeAll { $0.function == function }
  }

  /// The largest size that `allocate` could grant now.
  var largestFreeBytes: UInt64 {
    var largest: UInt64 = 0
    var start: UInt64 = 0
    for next in extents {
      if next.offsetBytes > start { largest = max(largest, next.offsetBytes - start) }
      start = aligned(next.endBytes)
    }
    return start < diskSizeBytes ? max(largest, diskSizeBytes - start) : largest
  }

  private mutating func insert(_ extent: Extent, at index: Int) -> Extent {
    extents.insert(extent, at: index)
    return extent
  }

  private func aligned(_ offset: UInt64) -> UInt64 {
    (offset + Self.alignmentBytes - 1) / Self.alignmentBytes * Self.alignmentBytes
  }
}
