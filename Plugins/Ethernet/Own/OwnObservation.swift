import FunctionPluginKit
import LinuxDevices
import Services

/// What the kernel and the card say of the card's own functions.
extension EthernetFunctions {
  func statusOfOwn(_ request: FunctionRequest, _ plan: FunctionPlan) throws -> FunctionStatus {
    guard let (card, function) = try heldFunction(plan) else { return FunctionStatus(request, .absent) }
    let found = plan.consumer.drivesFunction ? nil : try interface(of: function.address)
    let enforced = try enforcedByCard(plan, function, of: card, found?.link)
    let isInUse = try isInUse(plan, function, of: card)
    var status = FunctionStatus(request, isInUse ? .inUse : .created)
    status.function?.enforced = enforced
    guard isInUse else { return status }
    status.health = found.flatMap { health(of: $0, plan) }
    status.arrival = Arrival {
      $0.pciAddress = function.address.description
      $0.enforced = enforced
      if case .container = plan.consumer { $0.cdiDevice = (try? containerDevice(plan).qualifiedName) ?? "" }
      if plan.consumer.drivesFunction {
        let device = try? sysfs.vfioDevice(of: function.address)
        $0.iommuGroup = device?.group
        $0.devicePath = device?.groupPath ?? ""
      } else {
        $0.interfaceName = found?.link.name ?? ""
        $0.networkNamespace = plan.consumerNamespace ?? ""
      }
    }
    return status
  }

  /// Whether its consumer has it, and as the plan says.
  func isInUse(_ plan: FunctionPlan, _ function: SRIOVFunction, of card: OwnCard) throws -> Bool {
    guard let driver = function.driver, DriverBinding.isVFIO(driver) == plan.consumer.drivesFunction else {
      return false
    }
    let settings = try functions.settings(of: function.index, on: card.link.index)
    guard settings.macAddress == plan.macAddress else { return false }
    if plan.settings.linkState != .disabled, try isCutOff(function.index, of: card) { return false }
    if plan.consumer.drivesFunction {
      if case .container = plan.consumer { return isOfferedToContainers(plan, function) }
      return isPlugged(plan)
    }
    guard let found = try interface(of: function.address), found.link.alias == plan.names.alias,
      plan.mtu == nil || found.link.mtu == plan.mtu
    else { return false }
    // It may be in a container, or wait for one.
    if case .container = plan.consumer { return isOfferedToContainers(plan, function) }
    guard found.link.name == plan.interfaceName else { return false }
    guard let name = plan.consumerNamespace else { return found.namespaceID == nil && found.link.isUp }
    // A holder with power over its namespace may take the interface down: it is still the holder's.
    guard let consumer = try? NetworkNamespace.named(name) else { return false }
    if consumer.inode == namespace.inode { return found.namespaceID == nil }
    return try found.namespaceID != nil && found.namespaceID == route.namespaceID(of: consumer)
  }

  private func health(of found: FoundLink, _ plan: FunctionPlan) -> Health? {
    // One that waits for its container is not in use yet, and one without a carrier may be as it was asked for.
    if case .container = plan.consumer, found.namespaceID == nil { return nil }
    return plan.settings.linkState == .disabled ? nil : found.health(inNamespaceNamed: plan.consumerNamespace)
  }

  private func enforcedByCard(
    _ plan: FunctionPlan, _ function: SRIOVFunction, of card: OwnCard, _ link: Link?
  ) throws -> Attributes {
    let settings = try functions.settings(of: function.index, on: card.link.index)
    let keepsRates = !card.quirks.ignoresRate
    let queue = try link.flatMap { link in
      keepsRates || plan.consumerNamespace != nil
        ? nil : try route.queueingDisciplines(of: link.index).first { $0.parent == .root }?.rateBitsPerSecond
    }
    return Attributes {
      $0.ethernet = EthernetAttributes { ethernet in
        ethernet.macAddress = settings.macAddress?.description
        ethernet.mtu = link?.mtu
        if keepsRates {
          ethernet.maxTransmitBitsPerSecond = settings.maximumTransmitBitsPerSecond.flatMap { $0 > 0 ? $0 : nil }
          ethernet.minTransmitBitsPerSecond = settings.minimumTransmitBitsPerSecond.flatMap { $0 > 0 ? $0 : nil }
        } else if plan.limitsAreBestEffort {
          ethernet.maxTransmitBitsPerSecond = queue
          ethernet.rateGuarantee = .bestEffort
        }
        if case .tag(let tag) = settings.vlan {
          ethernet.vlan = UInt32(tag.identifier)
          if tag.priority > 0 { ethernet.vlanPriority = UInt32(tag.priority) }
          if tag.tagProtocol == .provider { ethernet.vlanProtocol = .ieee8021ad }
        }
        ethernet.spoofCheck = settings.spoofCheck
        ethernet.trust = settings.trust
        ethernet.rssQuery = settings.rssQuery
        switch settings.linkState {
        case .automatic: ethernet.linkState = .auto
        case .enabled: ethernet.linkState = .enabled
        case .disabled: ethernet.linkState = .disabled
        case nil: break
        }
      }
    }
  }

  // MARK: All of them

  /// Every function of the table that is there; also one that is found by its owner on an interface, where the table was
  /// lost. `interfaces` are those that bear a function's name.
  func observeOwn(
    _ interfaces: [String: [FoundLink]], known: (String) -> FunctionRequest?
  ) throws -> [FunctionStatus] {
    for (function, found) in interfaces where table[function] == nil {
      guard let address = found.lazy.compactMap(\.link.pciAddress).first,
        let entry = try entry(of: address)
      else { continue }
      try table.adopt(function, entry)
    }
    return try table.functions.compactMap { function in
      guard let entry = table[function] else { return nil }
      let request = known(function) ?? Self.ownOrphan(function, entry)
      // A card that is unplugged has taken its functions with it.
      guard let card = try presentCard(entry.endNode), let there = card.virtualFunction(entry.index) else { return nil }
      if let plan = try? plan(request) { return try statusOfOwn(request, plan) }
      return FunctionStatus(request, there.driver == nil ? .created : .inUse)
    }
  }

  private func entry(of address: PCIAddress) throws -> FunctionTable.Entry? {
    guard let parent = sysfs.pciFunction(address)?.physicalFunction else { return nil }
    for card in try cards() {
      guard let own = card.own, own.address == parent,
        let function = own.capability.functions.first(where: { $0.address == address })
      else { continue }
      return FunctionTable.Entry(endNode: card.id, index: function.index)
    }
    return nil
  }

  /// Of a function that only the table remembers: whose it was is not known, and what it is.
  private static func ownOrphan(_ function: String, _ entry: FunctionTable.Entry) -> FunctionRequest {
    FunctionRequest {
      $0.role = .direct
      $0.assignment = Assignment {
        $0.function = function
        $0.endNode = entry.endNode
        $0.deviceClass = EthernetPlugin.deviceClass
        $0.fenceDomain = function
        $0.path = .direct
        $0.token = function.split(separator: "/").last.flatMap { UInt64($0) }.map { value in
          FencingToken { $0.value = value }
        }
      }
    }
  }

  func statisticsOfOwn(function: String?) throws -> [FunctionStatistics] {
    try table.functions.filter { function == nil || function == $0 }.compactMap { name in
      guard let entry = table[name], let card = try presentCard(entry.endNode),
        let function = card.virtualFunction(entry.index)
      else { return nil }
      // The interface counts what the function did; where there is none, what the card says has to do.
      let link = try interface(of: function.address)?.link.statistics
      let counted =
        card.quirks.countsNothing
        ? nil
        : try functions.functions(of: card.link.index, withCounters: true)
          .first { $0.index == entry.index }?.counters
      guard let statistics = link ?? counted else { return nil }
      return FunctionStatistics(name, statistics)
    }
  }
}

extension FunctionStatistics {
  init(_ function: String, _ link: LinkStatistics) {
    self.init {
      $0.function = function
      $0.receivedBytes = link.receivedBytes
      $0.transmittedBytes = link.transmittedBytes
      $0.receivedOperations = link.receivedPackets
      $0.transmittedOperations = link.transmittedPackets
      $0.errors = link.receiveErrors + link.transmitErrors
      $0.receivedDrops = link.receiveDrops + link.receiveMisses
      $0.transmittedDrops = link.transmitDrops
    }
  }
}
