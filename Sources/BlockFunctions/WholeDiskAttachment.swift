import FunctionPluginKit
import LinuxDevices
import Services

/// A whole disk used on a host that has it: the kernel's own device, with nothing of ours between.
struct WholeDiskAttachment: LocalAttachment {
  let part: FunctionExtent
  /// Nil: this host is the only one that can reach the disk.
  let keeper: @Sendable (DiskDescription) throws -> (any DiskKeeper)?
  /// Takes the device from whoever has it open on this host, as if it were pulled and plugged in again.
  let pull: @Sendable (DiskDescription) throws -> DiskDescription
  let mark: SeizureMark

  private var plan: FunctionPlan { part.plan }
  private var device: String { part.disk.device }

  func attach() throws -> FunctionStatus {
    if let keeper = try keeper(part.disk) { try seize(keeper) }
    try plan.handover.give(device)
    guard let status = try current() else {
      throw PluginError(.unavailable, "\(device) of \(plan.function) is not in use when read back.")
    }
    return status
  }

  private func seize(_ keeper: any DiskKeeper) throws {
    // Repaired, where a path came back.
    if try keeper.isHeld(by: plan.token) { return try keeper.seize(plan.token) }
    guard !mark.exists else {
      let highest = try keeper.highestToken()?.value ?? 0
      throw PluginError(
        .failedPrecondition,
        "\(plan.endNode) was taken from this host while it held it under token \(plan.token.value)",
        highestToken: FencingToken { $0.value = max(highest, plan.token.value) })
    }
    // First: whoever registers and dies does not know that it did.
    try mark.make()
    do {
      try keeper.seize(plan.token)
    } catch {
      // It was never the disk's holder, so it may try again.
      if (try? keeper.isHeld(by: plan.token)) == false { try mark.remove() }
      throw error
    }
  }

  func current() throws -> FunctionStatus? {
    guard plan.handover.isGiven(device), try keeper(part.disk)?.isHeld(by: plan.token) ?? true else { return nil }
    return try part.arrived(as: device)
  }

  func holder() throws -> String? {
    if plan.handover.isGiven(device) { return device }
    if mark.exists, let keeper = try keeper(part.disk), try keeper.isHeld(by: plan.token) {
      return "\(device), which is kept for it"
    }
    return try user(of: part.disk).map { "\(device), which \($0) has open" }
  }

  /// On any of its paths: the one that is used first now may not be the one that was given.
  private func user(of disk: DiskDescription) throws -> DeviceUser? {
    for device in disk.devices {
      if let user = try DeviceUser.find(of: device) { return user }
    }
    return nil
  }

  /// First on this host, then between hosts: a disk that is kept for nobody can be written by everybody who has it open.
  func detach() throws {
    try plan.handover.take(device)
    var disk = part.disk
    if try user(of: disk) != nil {
      disk = try pull(disk)
      if let user = try user(of: disk) {
        throw PluginError(
          .unavailable,
          "\(user) has \(disk.device) of \(plan.function) open, also after it was taken away: end that, or unmount it.")
      }
    }
    guard let keeper = try keeper(disk) else { return }
    if !plan.request.keepOthersOut {
      try keeper.letGo(of: plan.token)
      if try keeper.isHeld(by: plan.token) {
        throw PluginError(.unavailable, "\(disk.device) is still kept for \(plan.function) when read back.")
      }
    }
    try mark.remove()
  }
}
