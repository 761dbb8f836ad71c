import FunctionPluginKit
import LinuxDevices
import Services

/// A whole disk for a consumer that drives it itself: a function of its drive's own, in the hands of VFIO. While it is out,
/// this host has no block device of it.
struct DrivenAttachment: LocalAttachment {
  let part: FunctionExtent
  let sysfs: Sysfs
  let give: @Sendable (DiskDescription, _ function: String) throws -> PCIAddress
  let given: @Sendable (DiskDescription, _ function: String) throws -> PCIAddress?
  let takeBack: @Sendable (DiskDescription, _ function: String) throws -> Void

  private var plan: FunctionPlan { part.plan }
  private var driven: DrivenFunction { DrivenFunction(plan.handover, sysfs) }

  func attach() throws -> FunctionStatus {
    guard !plan.isReadOnly else {
      throw PluginError(.invalidArgument, "A disk that its consumer drives itself cannot be kept from being written.")
    }
    let address = try give(part.disk, plan.function)
    try driven.give(address)
    guard let status = try current() else {
      throw PluginError(.unavailable, "\(address) of \(plan.function) is not in use when read back.")
    }
    return status
  }

  func current() throws -> FunctionStatus? {
    guard let address = try given(part.disk, plan.function), let arrival = try driven.arrival(of: address) else {
      return nil
    }
    return part.completed(
      plan.arrived(sizeBytes: part.extent.sizeBytes, isReadOnly: false) {
        let enforced = $0.enforced
        $0 = arrival
        $0.enforced = enforced
      })
  }

  func holder() throws -> String? {
    if let address = try given(part.disk, plan.function) { return "\(address)" }
    return part.disk.isAway ? "a virtual function of its drive" : nil
  }

  func detach() throws {
    try driven.takeAll()
    try takeBack(part.disk, plan.function)
  }
}

extension Capabilities {
  /// With those who drive a whole disk by themselves, where its drive makes functions for them.
  mutating func admitDrivers() {
    guard let direct = byPath.firstIndex(where: { $0.path == .direct }) else { return }
    for consumer in ["virtual_machine", "user_space"] where !byPath[direct].consumers.contains(consumer) {
      byPath[direct].consumers.append(consumer)
    }
  }
}
