/// What another count of virtual functions means for a card: decided before anything is written, so that it can be shown.
///
/// The kernel knows two changes only: from none to some, and from some to none, all at once.
public struct SRIOVChange: Sendable, Hashable {
  public let physicalFunction: PCIAddress
  public let from: UInt32
  public let to: UInt32
  /// The counts to write, one after the other; none when there is nothing to do.
  public let steps: [UInt32]
  /// What stops existing, sorted by index: every function there is, also when their number rises.
  public let destroyed: [SRIOVFunction]

  /// - Parameter holders: who holds a function, in words, by its address. A function that somebody holds is not
  ///   destroyed.
  /// - Throws: `SRIOVError.tooMany` or `.held`.
  public init(
    of physicalFunction: PCIAddress, with capability: SRIOVCapability, to count: UInt32, holders: [PCIAddress: String]
  ) throws(SRIOVError) {
    self.physicalFunction = physicalFunction
    from = capability.count
    to = count
    guard count != capability.count else {
      steps = []
      destroyed = []
      return
    }
    guard count <= capability.total else {
      throw .tooMany(physicalFunction, asked: count, total: capability.total)
    }
    destroyed = capability.functions
    let held = destroyed.compactMap { function in
      holders[function.address].map { SRIOVError.Holder(function: function.address, name: $0) }
    }
    guard held.isEmpty else { throw .held(physicalFunction, from: capability.count, to: count, by: held) }
    steps = [UInt32]((capability.count > 0 ? [0] : []) + (count > 0 ? [count] : []))
  }

  public var isNeeded: Bool { !steps.isEmpty }
}

/// What became of a change.
public struct SRIOVOutcome: Sendable, Hashable {
  public var asked: UInt32
  /// Read back. Fewer than asked where the driver had room for fewer and the caller takes those.
  public var count: UInt32
  public var functions: [SRIOVFunction]
}
