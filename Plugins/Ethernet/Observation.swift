import FunctionPluginKit
import LinuxDevices
import Services

/// What is there, read back from the kernel.
extension EthernetFunctions {
  /// The state of one function, in the role and place that the request names.
  func status(_ request: FunctionRequest, _ plan: FunctionPlan) throws -> FunctionStatus {
    if plan.isOwn { return try statusOfOwn(request, plan) }
    let found = try quickly(plan)
    return try status(request, names: plan.names, found, namespaceName: plan.consumerNamespace)
  }

  /// Every function that has an interface here. `known` gives the request that a function was made under.
  func observe(known: (String) -> FunctionRequest?) throws -> [FunctionStatus] {
    var interfaces: [String: [FoundLink]] = [:]
    for found in try everyLink() {
      guard let function = FunctionNames.function(inAlias: found.link.alias) else { continue }
      interfaces[function, default: []].append(found)
    }
    let own = try observeOwn(interfaces, known: known)
    for function in table.functions { interfaces[function] = nil }
    let namespaces = namespaceNames()
    return try own
      + interfaces.sorted { $0.key < $1.key }.map { function, found in
        let names = FunctionNames(function)
        let request = known(function) ?? Self.orphan(function, names: names, found)
        let place = found.lazy.compactMap(\.namespaceID).first
        var status = try status(request, names: names, found, namespaceName: place.flatMap { namespaces[$0] })
        if status.phase == .inUse, isInFormerNamespace(place, request) {
          // In use by nobody whom the claim names: it is set up anew, which takes it out of where it is.
          status.phase = .created
          status.arrival = nil
          status.health = nil
        }
        return status
      }
  }

  /// Whether the namespace that the consumer's name means now is another one than the function is in.
  private func isInFormerNamespace(_ place: Int32?, _ request: FunctionRequest) -> Bool {
    guard case .networkNamespace(let consumer) = request.assignment?.consumer?.kind, request.role != .server,
      let place, let named = try? NetworkNamespace.named(consumer.name)
    else { return false }
    return (try? route.namespaceID(of: named)) != place
  }

  func statistics(function: String?) throws -> [FunctionStatistics] {
    var interfaces: [String: Link] = [:]
    for found in try everyLink() {
      guard let owner = FunctionNames.function(inAlias: found.link.alias), function == nil || function == owner else {
        continue
      }
      let names = FunctionNames(owner)
      // The function's own interface counts: a macvlan here or with its consumer, or the consumer's end of a tunnel.
      guard found.link.name != names.tunnel, found.link.name != names.receiveLimiter else { continue }
      interfaces[owner] = found.link
    }
    for own in table.functions { interfaces[own] = nil }
    return try statisticsOfOwn(function: function)
      + interfaces.sorted { $0.key < $1.key }.map { FunctionStatistics($0, $1.statistics) }
  }

  /// The function's interfaces where they belong: a handful of questions, however many functions there are.
  private func quickly(_ plan: FunctionPlan) throws -> [FoundLink] {
    guard plan.role != .server else {
      return try [plan.names.interface, plan.names.tunnel].compactMap { try ourLink($0, plan.names) }
        .map { FoundLink(link: $0) }
    }
    guard let place = try? consumerPlace(plan) else { return [] }
    return try find(plan, in: place).map { [FoundLink(link: $0, namespaceID: place.namespaceID)] } ?? []
  }

  private func status(
    _ request: FunctionRequest, names: FunctionNames, _ found: [FoundLink], namespaceName: String?
  ) throws -> FunctionStatus {
    let main = found.first { $0.link.name != names.tunnel && $0.link.name != names.receiveLimiter }
    guard let main else { return FunctionStatus(request, .absent) }
    let enforced = try enforced(request, names: names, main, found)
    let isInUse =
      request.role == .server
      ? try isServed(names, found) : main.link.name != names.unused && (main.namespaceID != nil || main.link.isUp)
    var status = FunctionStatus(request, isInUse ? .inUse : .created)
    status.function?.enforced = enforced
    guard isInUse else { return status }
    status.health = main.health(inNamespaceNamed: namespaceName)
    guard request.role != .server else { return status }
    status.arrival = Arrival {
      $0.interfaceName = main.link.name
      $0.networkNamespace = main.namespaceID == nil ? "" : namespaceName ?? ""
      $0.enforced = enforced
    }
    return status
  }

  private func isServed(_ names: FunctionNames, _ found: [FoundLink]) throws -> Bool {
    guard let macvlan = found.first(where: { $0.link.name == names.interface })?.link, macvlan.isUp,
      let far = found.first(where: { $0.link.name == names.tunnel })?.link, far.isUp, let tunnel = far.vxlan
    else { return false }
    return try areJoined(macvlan, far) && admission.isAdmitted(tunnel)
  }

  private func enforced(
    _ request: FunctionRequest, names: FunctionNames, _ main: FoundLink, _ found: [FoundLink]
  ) throws -> Attributes {
    var transmit: UInt64?
    var receive: UInt64?
    let asked = request.assignment?.attributes?.ethernet
    switch request.role {
    case .server:
      transmit = try bucketRate(of: main.link)
      receive = try found.first { $0.link.name == names.tunnel }.flatMap { try bucketRate(of: $0.link) }
    case .direct:
      if let card = try main.link.lowerLink.flatMap({ try route.link(index: $0) }) {
        // By the address that was granted: a tenant may have given the interface another one.
        let address = asked?.macAddress.flatMap { MACAddress($0) } ?? main.link.macAddress
        transmit = try address.flatMap { try transmitLimit(of: $0, on: card) }
        receive = try receiveLimit(of: names)
      }
    default: break
    }
    return Attributes {
      $0.ethernet = EthernetAttributes {
        $0.macAddress = main.link.macAddress?.description
        $0.mtu = main.link.mtu
        if main.link.transmitQueues == main.link.receiveQueues { $0.queues = main.link.transmitQueues }
        $0.maxTransmitBitsPerSecond = Self.asAsked(transmit, asked?.maxTransmitBitsPerSecond)
        $0.maxReceiveBitsPerSecond = Self.asAsked(receive, asked?.maxReceiveBitsPerSecond)
      }
    }
  }

  private func bucketRate(of link: Link) throws -> UInt64? {
    try route.queueingDisciplines(of: link.index).first { $0.parent == .root }?.rateBitsPerSecond
  }

  /// The kernel keeps whole bytes per second; what was asked in bits is enforced when they say the same.
  private static func asAsked(_ kernel: UInt64?, _ asked: UInt64?) -> UInt64? {
    guard let kernel, let asked, kernel == max(1, asked / 8) * 8 else { return kernel }
    return asked
  }

  /// What can be told of a function that nobody here remembers, from its id and its interfaces.
  private static func orphan(_ function: String, names: FunctionNames, _ found: [FoundLink]) -> FunctionRequest {
    let parts = function.split(separator: "/", omittingEmptySubsequences: false)
    let main = found.first { $0.link.name != names.tunnel && $0.link.name != names.receiveLimiter }?.link
    return FunctionRequest {
      $0.assignment = Assignment {
        $0.function = function
        $0.deviceClass = EthernetPlugin.deviceClass
        $0.endNode = parts.dropLast().joined(separator: "/")
        $0.fenceDomain = function
        $0.token = parts.last.flatMap { UInt64($0) }.map { value in FencingToken { $0.value = value } }
      }
      // IFF_ALLMULTI is what a served macvlan has from its making.
      $0.role =
        main?.kind == "vxlan" ? .consumer : (main?.flags ?? 0) & 0x200 != 0 ? .server : main == nil ? .server : .direct
    }
  }
}
