import Synchronization

/// Gives devices the number of virtual functions that a configuration wants, where nothing is lost by it, and remembers what
/// came of it: what a driver answered once it answers again, and each time takes seconds.
public final class FunctionCountKeeper: Sendable {
  private struct Attempt: Hashable {
    var wanted: UInt32
    var found: UInt32
    var holders: [String]
  }

  private let control: SRIOVControl
  private let wanted = Mutex<[PCIAddress: UInt32]>([:])
  private let last = Mutex<[PCIAddress: (attempt: Attempt, message: String?)]>([:])

  public init(_ sysfs: Sysfs) { control = SRIOVControl(sysfs) }

  /// What a device was last to have; nil: nobody wants a number.
  public func wanted(of device: PCIAddress) -> UInt32? { wanted.withLock { $0[device] } }

  /// Why a device does not have the number that is wanted; nil: it has, or nothing was tried.
  public func message(of device: PCIAddress) -> String? { last.withLock { $0[device]?.message } }

  /// What failed is tried again.
  public func forget() { last.withLock { $0 = [:] } }

  /// Of devices that are gone: when one is back at its place, that is no answer any more.
  public func keep(_ present: Set<PCIAddress>) { last.withLock { $0 = $0.filter { present.contains($0.key) } } }

  /// - Parameters:
  ///   - holders: who holds a function, in words, by its index: none of them is destroyed.
  ///   - prepare: what the driver needs before it makes any.
  ///   - explain: what failed, for an operator.
  public func settle(
    _ device: PCIAddress, _ capability: SRIOVCapability, wanted: UInt32, holders: [UInt32: String],
    prepare: () throws -> Void = {}, explain: (any Error) -> String = { "\($0)" }
  ) {
    self.wanted.withLock { $0[device] = wanted }
    guard capability.count != wanted else { return last.withLock { $0[device] = nil } }
    let attempt = Attempt(
      wanted: wanted, found: capability.count, holders: holders.sorted { $0.key < $1.key }.map(\.value))
    guard last.withLock({ $0[device]?.attempt }) != attempt else { return }
    remember(attempt, nil, of: device)
    do {
      var named: [PCIAddress: String] = [:]
      for function in capability.functions { named[function.address] = holders[function.index] }
      let change = try control.plan(device, count: wanted, holders: named)
      try prepare()
      let count = try control.carryOut(change, acceptsFewer: true).count
      let fewer = "the driver made \(count) of the \(wanted) functions that virtualFunctions asks for"
      remember(Attempt(wanted: wanted, found: count, holders: []), count < wanted ? fewer : nil, of: device)
    } catch {
      remember(attempt, explain(error), of: device)
    }
  }

  private func remember(_ attempt: Attempt, _ message: String?, of device: PCIAddress) {
    last.withLock { $0[device] = (attempt, message) }
  }
}
