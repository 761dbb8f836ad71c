import Configuration

/// How what a user left on a disk is taken off it before somebody else gets the place. Whatever the method, all of the place
/// is read back, and has to read as zeroes: a sample would prove nothing of the blocks that are not in it.
enum ScrubMethod: String, Sendable, Hashable, CaseIterable {
  /// Overwritten with zeroes (BLKZEROOUT): what every disk can. Blocks stay allocated.
  case zero
  /// Given back to the disk (BLKDISCARD: TRIM, UNMAP, Deallocate). No standard makes a disk read zeroes after that, so what
  /// does not is overwritten.
  case discard
  /// The disk erases itself, with all that it keeps beside what can be addressed. Only of whole disks.
  case sanitize
  /// Left as it is: the operator's word that this disk's users may read each other's data.
  case none

  init(configured name: String) throws(InvalidValue) {
    guard let method = ScrubMethod(rawValue: name) else {
      let known = Self.allCases.map(\.rawValue).joined(separator: ", ")
      throw InvalidValue("scrub is '\(name)', and what there is are \(known)")
    }
    self = method
  }
}
