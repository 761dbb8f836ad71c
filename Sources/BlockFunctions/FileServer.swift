import FunctionPluginKit
import LinuxDevices
import Services

/// What a claim for a file server holds, as the end node that it is for the claims from it: this host has it attached, cuts
/// parts of it and serves them, like those of a disk.
struct ServedDisk: Sendable {
  /// The function's id is the end node's.
  var plan: FunctionPlan
  /// As it is attached now.
  var device: String

  var endNode: String { plan.function }
  var claim: String { plan.request.assignment?.claim ?? "" }
  /// `/dev/iov/CLAIM`.
  var name: String { plan.handover.link?.path ?? device }

  func description() throws -> DiskDescription {
    DiskDescription(
      identity: endNode, devices: [device], facts: try BlockDevice.facts(device), health: Health { $0.state = .healthy }
    )
  }

  /// What it does for certain, and can be promised on.
  var promised: BlockAttributes { plan.request.assignment?.attributes?.block ?? BlockAttributes() }
}

extension FunctionRequest {
  /// Whether it is for a file server, on the host that is to have it attached.
  var isForFileServer: Bool {
    guard case .fileServer = assignment?.consumer?.kind else { return false }
    return role == .direct || role == .consumer
  }
}

extension BlockPlugin {
  /// What is attached on this host for file servers; of one function alone if it is named.
  func servedDisks(_ function: String?) -> [ServedDisk] {
    context.knownFunctions.filter { $0.isForFileServer && (function == nil || $0.assignment?.function == function) }
      .compactMap { request in
        guard let plan = try? FunctionPlan(request), let device = try? device(of: plan) else { return nil }
        return ServedDisk(plan: plan, device: device)
      }
  }

  /// Nil while it is not attached, or is attached to what is dead.
  private func device(of plan: FunctionPlan) throws -> String? {
    if plan.request.role == .consumer {
      let disk = networkDisk(plan)
      return try disk.connected() == nil ? nil : disk.device
    }
    guard let part = try part(plan), try local(part).current() != nil else { return nil }
    return plan.handover.link?.target.flatMap(SmallFile.resolved)
  }

  /// Whether this host has let go of what a function is a part of, and of all that it remembered of that: then nothing is left of
  /// the part, here or anywhere, because the whole is cleaned by whoever has its device.
  func isOfNothing(_ plan: FunctionPlan) -> Bool {
    guard plan.isServed else { return false }
    let sources = context.knownFunctions.filter { $0.isForFileServer && $0.assignment?.function == plan.endNode }
    guard let source = sources.first else { return !disks.hasTable(of: plan.endNode) }
    // What is connected comes from another host; what is attached is of something here, too.
    return source.role == .direct && (try? FunctionPlan(source)).map(isOfNothing) ?? false
  }

  /// Takes down on this host what is served from a function, before its device goes: whoever would go on with it would have a
  /// device without anything behind it, or hold on to it. It is set up again on the next one.
  func takeDownParts(of plan: FunctionPlan) throws {
    guard plan.request.isForFileServer else { return }
    // A loop device that went behind this plugin's back may be another claim's by now, and so may be what lies on it.
    let device =
      plan.request.role == .consumer
      ? networkDisk(plan).device : isNamedByAnother(plan) ? nil : plan.handover.link?.given
    for request in context.knownFunctions where request.assignment?.endNode == plan.function {
      let part = try FunctionPlan(request)
      switch request.role {
      case .server: try daemon(part).stop()
      case .direct:
        try takeDownParts(of: part)
        guard let device, let extent = disks.servedExtent(of: part) else { continue }
        // The device may be dead, so it is not asked.
        let disk = DiskDescription(
          identity: part.endNode, devices: [device],
          facts: BlockFacts(sizeBytes: 0, logicalSectorBytes: 512, physicalSectorBytes: 512, isReadOnly: false))
        try local(FunctionExtent(plan: part, disk: disk, extent: extent)).detach()
      default: continue
      }
    }
    changed()
  }

  /// The last word of a function: what was served from it is forgotten with it. Where the function was taken from this host, it may
  /// come back from another one, with what is on it: the parts are remembered until they go themselves.
  func forgetParts(of plan: FunctionPlan) throws {
    guard plan.request.isForFileServer else { return }
    try disks.forgetTable(of: plan.function, withParts: !plan.request.fenced)
  }
}
