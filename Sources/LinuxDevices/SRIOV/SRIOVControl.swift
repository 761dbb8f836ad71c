/// Carries out changes of the count of virtual functions. Each takes seconds (about a second to make some, two and a half
/// to take them away, for an igb) and blocks. Taking away a function that a program holds open through VFIO waits until it
/// lets go, whenever that is: detach first.
public struct SRIOVControl: Sendable {
  public let sysfs: Sysfs

  public init(_ sysfs: Sysfs) { self.sysfs = sysfs }

  /// What a change would mean; nothing is written.
  public func plan(
    _ address: PCIAddress, count: UInt32, holders: [PCIAddress: String]
  ) throws(SRIOVError) -> SRIOVChange {
    guard let capability = sysfs.sriovCapability(of: address) else { throw .notOffered(address) }
    return try SRIOVChange(of: address, with: capability, to: count, holders: holders)
  }

  /// Whether functions made from now on are given to a driver at once. Off, their MAC addresses can be set before a
  /// driver reads them: a bound one keeps the address that it was bound with.
  ///
  /// - Throws: `SysfsError`; a kernel that always looks for a driver has no such attribute.
  public func setDriversAutoprobe(_ isOn: Bool, of address: PCIAddress) throws(SysfsError) {
    let path = "\(address.sysfsPath)/sriov_drivers_autoprobe"
    let wanted: UInt8 = isOn ? 1 : 0
    guard sysfs.integer(path) != wanted else { return }
    try sysfs.write(wanted, to: path)
  }

  /// Writes the steps of a change and reads the result back.
  ///
  /// - Parameter acceptsFewer: take what the driver makes when it makes fewer than asked for. Otherwise that is a failure.
  /// - Throws: `SRIOVError`; after the former count was tried again.
  @discardableResult
  public func carryOut(_ change: SRIOVChange, acceptsFewer: Bool = false) throws(SRIOVError) -> SRIOVOutcome {
    // Whoever changed the count since the plan has made another plan of it: what it destroys was not asked for.
    guard let before = sysfs.sriovCapability(of: change.physicalFunction) else {
      throw .notOffered(change.physicalFunction)
    }
    guard before.count == change.from else {
      throw .refused(change.physicalFunction, count: change.to, .busy, state: .unchanged(before.count))
    }
    for step in change.steps {
      do {
        try write(step, to: change.physicalFunction)
      } catch {
        let reason = reason(error, change.physicalFunction)
        throw .refused(change.physicalFunction, count: step, reason, state: rollBack(change))
      }
    }
    guard let after = sysfs.sriovCapability(of: change.physicalFunction) else {
      throw .refused(change.physicalFunction, count: change.to, .vanished, state: .unknown)
    }
    guard after.count == change.to || acceptsFewer && after.count > 0 && after.count < change.to else {
      throw .fewer(change.physicalFunction, asked: change.to, got: after.count, state: rollBack(change))
    }
    return SRIOVOutcome(asked: change.to, count: after.count, functions: after.functions)
  }

  /// Returns to the former count after a failure at any step, and says what there is then.
  private func rollBack(_ change: SRIOVChange) -> SRIOVError.State {
    guard let now = count(of: change.physicalFunction) else { return .unknown }
    // A refusal of the first step changed nothing.
    guard now != change.from else { return .unchanged(now) }
    do {
      if now > 0 { try write(0, to: change.physicalFunction) }
      if change.from > 0 { try write(change.from, to: change.physicalFunction) }
    } catch {
      let reason = reason(error, change.physicalFunction)
      return count(of: change.physicalFunction).map { .left($0, former: change.from, rollBack: reason) } ?? .unknown
    }
    guard let count = count(of: change.physicalFunction) else { return .unknown }
    return count == change.from ? .rolledBack(count) : .left(count, former: change.from, rollBack: nil)
  }

  private func write(_ count: UInt32, to address: PCIAddress) throws(SysfsError) {
    try sysfs.write(count, to: "\(address.sysfsPath)/sriov_numvfs")
  }

  private func count(of address: PCIAddress) -> UInt32? { sysfs.integer("\(address.sysfsPath)/sriov_numvfs") }

  private func reason(_ error: SysfsError, _ address: PCIAddress) -> SRIOVError.Reason {
    SRIOVError.Reason(error, driver: sysfs.driver(of: address))
  }
}
