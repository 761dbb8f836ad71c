import Services

/// A run of a disk's bytes that belongs to one function.
struct AllocatedExtent: Sendable, Hashable {
  var function: String
  var offsetBytes: UInt64
  var sizeBytes: UInt64

  var endBytes: UInt64 { offsetBytes + sizeBytes }

  func overlaps(_ place: Extent) -> Bool {
    let (end, overflow) = place.offsetBytes.addingReportingOverflow(place.sizeBytes)
    return offsetBytes < (overflow ? .max : end) && place.offsetBytes < endBytes
  }

  /// As the coordinator keeps it.
  var place: Extent {
    Extent {
      $0.offsetBytes = offsetBytes
      $0.sizeBytes = sizeBytes
    }
  }
}

/// Which function has which part of a disk. No two parts overlap.
struct ExtentMap: Sendable, Hashable {
  /// Extents begin at multiples of this, whatever the sectors' size: flash erases and RAID stripes are aligned with it.
  static let alignmentBytes: UInt64 = 1 << 20

  let diskSizeBytes: UInt64
  /// By offset.
  private(set) var extents: [AllocatedExtent] = []

  init(diskSizeBytes: UInt64) { self.diskSizeBytes = diskSizeBytes }

  /// nil if the extents overlap, leave the disk, are empty, or one function has two.
  init?(diskSizeBytes: UInt64, extents: [AllocatedExtent]) {
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

  subscript(function: String) -> AllocatedExtent? { extents.first { $0.function == function } }

  /// The first extent that shares a byte with a place.
  func overlapping(_ place: Extent) -> AllocatedExtent? { extents.first { $0.overlaps(place) } }

  var usedBytes: UInt64 { extents.reduce(0) { $0 + $1.sizeBytes } }

  /// The first gap that is large enough, or nil.
  ///
  /// - Parameter reserved: places without an extent here that may be somebody's all the same; they may overlap anything.
  mutating func allocate(function: String, sizeBytes: UInt64, besides reserved: [Extent] = []) -> AllocatedExtent? {
    precondition(sizeBytes > 0 && self[function] == nil)
    let obstacles = extents.map(\.place) + reserved
    var start: UInt64 = 0
    for next in obstacles.sorted(by: { $0.offsetBytes < $1.offsetBytes }) {
      if next.offsetBytes >= start, next.offsetBytes - start >= sizeBytes { break }
      let (end, overflow) = next.offsetBytes.addingReportingOverflow(next.sizeBytes)
      guard !overflow, end <= diskSizeBytes else { return nil }
      start = max(start, aligned(end))
    }
    return allocate(function: function, at: start, sizeBytes: sizeBytes)
  }

  /// That very place, if it is free and on the disk.
  mutating func allocate(function: String, at offsetBytes: UInt64, sizeBytes: UInt64) -> AllocatedExtent? {
    let (end, overflow) = offsetBytes.addingReportingOverflow(sizeBytes)
    guard sizeBytes > 0, !overflow, end <= diskSizeBytes, self[function] == nil,
      !extents.contains(where: { $0.offsetBytes < end && offsetBytes < $0.endBytes })
    else { return nil }
    return insert(
      AllocatedExtent(function: function, offsetBytes: offsetBytes, sizeBytes: sizeBytes),
      at: extents.firstIndex { $0.offsetBytes >= end } ?? extents.count)
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

  private mutating func insert(_ extent: AllocatedExtent, at index: Int) -> AllocatedExtent {
    extents.insert(extent, at: index)
    return extent
  }

  private func aligned(_ offset: UInt64) -> UInt64 {
    (offset + Self.alignmentBytes - 1) / Self.alignmentBytes * Self.alignmentBytes
  }
}
