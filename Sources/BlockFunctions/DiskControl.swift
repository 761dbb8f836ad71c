import FunctionPluginKit
import LinuxDevices
import Services

/// Disks that several hosts can reach: which of them one is kept for, and how another host is cut off.
extension BlockPlugin {
  /// Nothing is registered with a disk before something of it is used: until then it may be another's. What the former
  /// controlling host may be using is taken away at once.
  public func takeControl(_ request: ControlRequest) async throws {
    guard let token = request.controlToken else { return }
    try await BlockingThread.detached { [disks] in
      // Where nobody is registered the former one uses nothing, and is kept out by the first part that is made. Under a higher
      // token the disk is another root's as a whole, which has cut off all of the former control.
      if !request.formerControlTokens.isEmpty,
        let keeper = try disks.keeper(of: disks.description(of: request.endNode)),
        let highest = try keeper.highestToken(), highest.value <= token.value
      {
        try keeper.seize(token)
      }
      if request.unused, try disks.contains(request.endNode) {
        try self.letGoOfUnusedDisk(request.endNode, under: token)
      }
    }
  }

  /// The disk is this host's while it has parts of it in use. A host that has lost control since finds a higher token.
  func keepParts(of endNode: String) throws {
    guard let keeper = try disks.keeper(of: disks.description(of: endNode)) else { return }
    guard let token = context.controlToken(of: endNode) else {
      throw PluginError(.failedPrecondition, "This host has not been given control of \(endNode) yet.")
    }
    if try !keeper.isHeld(by: token) { try keeper.seize(token) }
  }

  /// With its last part the disk is nobody's, unless a host that was cut off may be writing still.
  func letGoOfUnusedDisk(_ plan: FunctionPlan) throws {
    guard !plan.isWhole, !plan.request.keepOthersOut, let token = context.controlToken(of: plan.endNode) else { return }
    try letGoOfUnusedDisk(plan.endNode, under: token)
  }

  private func letGoOfUnusedDisk(_ endNode: String, under token: FencingToken) throws {
    guard try disks.isUnused(endNode), let keeper = try disks.keeper(of: disks.description(of: endNode)),
      try keeper.isHeld(by: token)
    else { return }
    try keeper.letGo(of: token)
  }

  // MARK: In the place of a host that is lost

  /// The disk cuts off whoever had it. A whole disk is kept under the fencer's own token, parts under that of control, which
  /// this host has taken.
  func cutOffLostHost(_ plan: FunctionPlan) throws -> FunctionStatus {
    let keeper = try lostHostsKeeper(plan)
    if plan.isWhole { try keeper.seize(plan.token) } else { try keepParts(of: plan.endNode) }
    return FunctionStatus(plan.request, .created)
  }

  /// What the lost host had, to be cleaned here; only while it is kept from that host.
  func partOfLostHost(_ plan: FunctionPlan) throws -> FunctionExtent {
    _ = try cutOffLostHost(plan)
    let disk = try disks.description(of: plan.endNode)
    guard
      let place = plan.place ?? (plan.isWhole ? AllocatedExtent(function: plan.function, disk: disk).place : nil)
    else {
      throw PluginError(
        .failedPrecondition,
        "Nobody knows where \(plan.function) lay on \(plan.endNode): its host never said so, so it wrote nothing there."
      )
    }
    let extent = AllocatedExtent(
      function: plan.function, offsetBytes: place.offsetBytes, sizeBytes: place.sizeBytes)
    guard extent.endBytes <= disk.facts.sizeBytes else {
      throw PluginError(
        .dataLoss,
        "\(plan.function) is said to end at byte \(extent.endBytes) of \(plan.endNode), which has \(disk.facts.sizeBytes)."
      )
    }
    if let user = try DeviceUser.find(of: disk.device), plan.isWhole {
      throw PluginError(.failedPrecondition, "\(user) has \(disk.device) open on this host: end that, or unmount it.")
    }
    return FunctionExtent(plan: plan, disk: disk, extent: extent)
  }

  func letGoOfLostHost(_ plan: FunctionPlan) throws -> FunctionStatus {
    try checkClean(plan)
    try disks.scrubs.remove(plan.function)
    return FunctionStatus(plan.request, .absent)
  }

  private func lostHostsKeeper(_ plan: FunctionPlan) throws -> any DiskKeeper {
    guard let keeper = try disks.keeper(of: disks.description(of: plan.endNode)) else {
      throw PluginError(
        .failedPrecondition, "\(plan.endNode) is reached by this host alone: there is nobody else to be cut off.")
    }
    return keeper
  }
}

extension AllocatedExtent {
  /// All of a disk.
  init(function: String, disk: DiskDescription) {
    self.init(function: function, offsetBytes: 0, sizeBytes: disk.facts.sizeBytes)
  }
}
