import FunctionPluginKit
import LinuxDevices
import Services

/// The functions of one host, as they are in the kernel. Kept beside it is only which of a card's own functions is whose,
/// which has no other place.
///
/// All calls are synchronous and short. They share queueing disciplines and a packet filter of the host, so one at a time
/// runs; the plugin sees to that with its one thread.
struct EthernetFunctions: Sendable {
  let hostName: String
  let configuration: EthernetConfiguration
  let namespace: NetworkNamespace
  let route: RouteNetlink
  let admission: PeerAdmission
  let sysfs: Sysfs
  let table: FunctionTable
  /// Settings of cards' own functions, through their cards.
  let functions: VirtualFunctionControl
  let binding: DriverBinding
  let containers: ContainerDeviceDirectory
  /// How long a card that has no carrier is given one, when its driver needs it for what is to be set.
  let carrierPatience: Duration
  /// How many functions of its own an end node's card is to make, as an operator said; nil: as the configuration says.
  let orderedFunctions: @Sendable (_ endNode: String) -> UInt32?
  let identities = IdentityMemory()
  let probes = ProbeMemory()
  let counts: FunctionCountKeeper

  /// Nil for `route`: the namespace's own kernel.
  init(
    hostName: String, configuration: EthernetConfiguration, namespace: NetworkNamespace, route: RouteNetlink? = nil,
    sysfs: Sysfs = Sysfs(), table: FunctionTable = FunctionTable(),
    containers: ContainerDeviceDirectory = ContainerDeviceDirectory(), carrierPatience: Duration = .seconds(5),
    orderedFunctions: @escaping @Sendable (_ endNode: String) -> UInt32? = { _ in nil }
  ) throws {
    self.hostName = hostName
    self.configuration = configuration
    self.namespace = namespace
    self.sysfs = sysfs
    self.table = table
    binding = DriverBinding(sysfs)
    counts = FunctionCountKeeper(sysfs)
    self.containers = containers
    self.carrierPatience = carrierPatience
    self.orderedFunctions = orderedFunctions
    self.route = try route ?? RouteNetlink(in: namespace)
    functions = VirtualFunctionControl(self.route)
    admission = try PeerAdmission(in: namespace)
  }

  /// What was found out once of cards and their drivers.
  func forgetFindings() {
    identities.forget()
    probes.forget()
    counts.forget()
  }

  func plan(_ request: FunctionRequest) throws(PluginError) -> FunctionPlan {
    try FunctionPlan(request, vxlanPort: configuration.vxlanPort)
  }

  /// Of a function that is taken back. Whoever has lost what it was made for says no path either: the table knows the card's own.
  func releasePlan(_ request: FunctionRequest) throws(PluginError) -> FunctionPlan {
    var plan = try FunctionPlan(releasing: request, vxlanPort: configuration.vxlanPort)
    if plan.role == .direct, table[plan.names.function] != nil { plan.path = .direct }
    return plan
  }

  /// The function in its place, unused: a macvlan of the card that is down.
  ///
  /// A function for a namespace is made there at once: a move later takes ten times as long.
  func create(_ request: FunctionRequest) throws -> FunctionStatus {
    let plan = try plan(request)
    if plan.isOwn {
      try createOwn(plan)
    } else if plan.role == .server {
      _ = try ensureServedMacvlan(plan, on: cardLink(plan.endNode))
    } else {
      _ = try ensureDirectMacvlan(plan, on: cardLink(plan.endNode), in: consumerPlace(plan))
    }
    return try status(request, plan)
  }

  func destroy(_ request: FunctionRequest) throws -> FunctionStatus {
    let plan = try releasePlan(request)
    if plan.isOwn { try destroyOwn(plan) } else { try remove(plan) }
    return try provenAbsent(request, plan)
  }

  func configure(_ request: FunctionRequest) throws -> FunctionStatus {
    let plan = try plan(request)
    switch plan.role {
    case .direct where plan.isOwn: try configureOwn(plan)
    case .server: try limitServed(plan)
    case .direct: try limitDirect(plan, on: cardLink(plan.endNode))
    default:
      throw PluginError(.invalidArgument, "rates are enforced at the controlling host: configure the function there")
    }
    return try status(request, plan)
  }

  /// Takes the function from its holder without asking it: everything of it is deleted.
  func fence(_ request: FunctionRequest) throws -> FunctionStatus {
    let plan = try releasePlan(request)
    if plan.isOwn {
      try fenceOwn(plan)
      return try status(request, plan)
    }
    try remove(plan)
    return try provenAbsent(request, plan)
  }

  /// Cleans a function that nobody can reach. A macvlan is gone by then, and keeps nothing of its holder's.
  func scrub(_ request: FunctionRequest) throws -> FunctionStatus {
    let plan = try releasePlan(request)
    if plan.isOwn { try scrubOwn(plan) }
    return try status(request, plan)
  }

  func adopt(_ request: FunctionRequest) throws -> FunctionStatus {
    let plan = try plan(request)
    let status = try status(request, plan)
    guard status.phase != .absent else {
      throw PluginError(
        .notFound, "host \(hostName) has no interface with the alias '\(plan.names.alias)': nothing to adopt")
    }
    return status
  }

  /// Deletes everything of a function, whatever of it is there and wherever it is.
  func remove(_ plan: FunctionPlan) throws {
    let links = try everyLink()
    let card = try? cardLink(plan.endNode)
    let found = links.filter { isOurs($0.link, plan.names) || isDisguised($0, plan, card) }
    // The way between hosts first: from then on nothing reaches the card any more.
    for place in found.sorted(by: { $0.link.kind == "vxlan" && $1.link.kind != "vxlan" }) {
      if let tunnel = place.link.vxlan { try revoke(tunnel, of: plan.names, among: links) }
      try route.delete(place.link.index, inNamespaceWithID: place.namespaceID)
    }
    if let tunnel = plan.tunnel { try revoke(tunnel, of: plan.names, among: links) }
    // Without its card a function has no limits either; and limits of another function with this address are not ours.
    guard plan.role == .direct, let card else { return }
    let macvlans = found.lazy.map(\.link).filter { $0.kind == "macvlan" }
    let addresses = plan.macAddress.map { [$0] } ?? macvlans.compactMap(\.macAddress)
    for address in addresses {
      let others = links.contains { isMacvlan($0.link, of: card, address) && !isOurs($0.link, plan.names) }
      if !others { try removeLimits(of: address, on: card) }
    }
  }

  /// Nobody may send to a function's tunnel any more, unless another function has the very same by now: one that came in its place.
  func revoke(_ tunnel: VXLANParameters, of names: FunctionNames, among known: [FoundLink]? = nil) throws {
    guard tunnel.local != nil else { return }
    let isAnothers = try (known ?? everyLink()).contains { $0.link.vxlan == tunnel && !isOurs($0.link, names) }
    if !isAnothers { try admission.revoke(tunnel) }
  }

  /// A holder with power over its namespace can take the alias away and rename; what the function is made of stays.
  private func isDisguised(_ found: FoundLink, _ plan: FunctionPlan, _ card: Link?) -> Bool {
    guard found.namespaceID != nil, FunctionNames.function(inAlias: found.link.alias) == nil else { return false }
    if let tunnel = plan.tunnel { return found.link.vxlan == tunnel }
    guard let card, let address = plan.macAddress else { return false }
    return isMacvlan(found.link, of: card, address)
  }

  /// ABSENT, said after looking.
  func provenAbsent(_ request: FunctionRequest, _ plan: FunctionPlan) throws -> FunctionStatus {
    if let entry = table[plan.names.function] {
      throw PluginError(
        .unavailable, "\(plan.names.function) still has function \(entry.index) of \(entry.endNode)")
    }
    if let left = try findEverywhere(plan.names).first {
      throw PluginError(.unavailable, "interface \(left.link.name) of \(plan.names.function) is still there")
    }
    return FunctionStatus(request, .absent)
  }
}
