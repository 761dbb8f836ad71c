import Synchronization

/// Gives devices the number of virtual functions that is wanted, where nothing is lost by it, and remembers what came of it:
/// what a driver answered once it answers again, and each time takes seconds.
public final class FunctionCountKeeper: Sendable {
  private struct Attempt: Hashable {
    var wanted: UInt32
    var found: UInt32
    var holders: [String]
  }

  private struct Outcome {
    var attempt: Attempt
    /// Nil: it is being tried, or there is nothing to say.
    var message: String?
    /// Nobody was in the way. It would come to the same again, whoever holds a function by now.
    var isAnswer: Bool { attempt.holders.isEmpty && message != nil }
  }

  private let control: SRIOVControl
  private let wanted = Mutex<[PCIAddress: UInt32]>([:])
  private let last = Mutex<[PCIAddress: Outcome]>([:])
  private let turn = Mutex(())

  public init(_ sysfs: Sysfs) { control = SRIOVControl(sysfs) }

  /// What a device was last to have; nil: nobody wants a number.
  public func wanted(of device: PCIAddress) -> UInt32? { wanted.withLock { $0[device] } }

  /// Why a device does not have the number that is wanted, and who holds a function that it waits for: nobody, where it was tried
  /// while nobody held one, and came to this. Both are empty where it has the number, or the number was not tried.
  ///
  /// - Parameter holders: as `settle` has them.
  public func standing(
    of device: PCIAddress, wanted: UInt32?, present: UInt32, holders: [UInt32: String]
  ) -> (held: [String], message: String) {
    guard let wanted, wanted != present else { return ([], "") }
    return last.withLock { last in
      let known = last[device].flatMap { $0.attempt.wanted == wanted ? $0 : nil }
      let held = known?.isAnswer ?? false ? [] : holders.sorted { $0.key < $1.key }.map(\.value)
      return (held, known?.message ?? "")
    }
  }

  /// What failed is tried again.
  public func forget() { last.withLock { $0 = [:] } }

  /// Of devices that are gone: when one is back at its place, that is no answer any more.
  public func keep(_ present: Set<PCIAddress>) { last.withLock { $0 = $0.filter { present.contains($0.key) } } }

  /// Nobody wants a number any more: it stays as it is found.
  public func leave(_ device: PCIAddress) {
    wanted.withLock { $0[device] = nil }
    last.withLock { $0[device] = nil }
  }

  /// So many are wanted, and cannot be had as long as nobody knows who holds what.
  public func wait(_ device: PCIAddress, wanted: UInt32) { self.wanted.withLock { $0[device] = wanted } }

  /// For those who settle numbers and give functions away on several threads: nobody gets a function between the look at
  /// who holds one and the change that destroys them.
  public func inTurn<Value: Sendable>(_ body: () throws -> Value) rethrows -> Value {
    try turn.withLock { _ in try body() }
  }

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
    let known = last.withLock { $0[device] }
    guard known?.attempt != attempt else { return }
    if let known, known.isAnswer, (known.attempt.wanted, known.attempt.found) == (wanted, capability.count) { return }
    remember(attempt, nil, of: device)
    do {
      var named: [PCIAddress: String] = [:]
      for function in capability.functions { named[function.address] = holders[function.index] }
      let change = try control.plan(device, count: wanted, holders: named)
      try prepare()
      let count = try control.carryOut(change, acceptsFewer: true).count
      let fewer = "the driver made \(count) of the \(wanted) functions that are wanted"
      remember(Attempt(wanted: wanted, found: count, holders: []), count < wanted ? fewer : nil, of: device)
    } catch {
      remember(attempt, explain(error), of: device)
    }
  }

  private func remember(_ attempt: Attempt, _ message: String?, of device: PCIAddress) {
    last.withLock { $0[device] = Outcome(attempt: attempt, message: message) }
  }
}
