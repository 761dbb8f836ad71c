import Messages

/// What is wrong with a request whatever happens later is refused when it is made; what is only busy or away now is
/// left to placement, and the claim waits.
extension Arbiter {
  func validate(_ specification: ClaimSpecification, of name: String) throws(Refusal) {
    try validateClass(specification.deviceClass)
    try validateHosts(specification)
    try validatePaths(specification.allowedPaths)
    try validateLossPolicy(specification.lossPolicy)
    try validate(specification.evictionPolicy)
    try validateUnhealthySeconds(specification)
    try validate(specification.preemption)
    try validate(specification.tolerations)
    try validateConsumer(specification)
    try validateMAC(specification)
    try validateEthernet(specification.attributes?.ethernet ?? EthernetAttributes())
    if let problem = specification.attributes?.block?.problem { throw Refusal(.invalidArgument, problem) }
    try validateEndNode(specification)
    try validateSelector(specification)
    try validateLocality(specification)
    try validatePlacement(specification)
    try validateUpgrade(specification)
    try validateSource(specification, of: name)
    try validateTenant(of: specification)
  }

  /// Refuses what no end node that is known could ever carry out.
  func validateFitness(of specification: ClaimSpecification) throws(Refusal) {
    guard specification.isForSeveralHosts else {
      return try require(oneOf: specification) { (node) throws(Drop) in try checkFitness(of: node, for: specification) }
    }
    let choice = specification.attributes?.ethernet?.mtu == nil ? HostChoice() : wholeChoice(for: specification)
    try require(oneOf: specification) { (node) throws(Drop) in
      try checkFitness(of: node, for: specification, on: choice)
    }
  }

  /// Refuses if there are candidates and each of them fails for good. The one that came furthest says why.
  private func require(
    oneOf specification: ClaimSpecification, _ check: (EndNodeState) throws(Drop) -> Void
  ) throws(Refusal) {
    var furthest: Drop?
    for id in fewCandidates(for: specification) ?? candidates(for: specification) {
      guard let node = endNodes[id], isEverSelected(node, by: specification) else { continue }
      do throws(Drop) {
        try check(node)
        return
      } catch {
        if furthest.map({ $0.filter < error.filter }) ?? true { furthest = error }
      }
    }
    if let furthest { throw Refusal(.invalidArgument, furthest.message) }
  }

  /// New rates of a claim: by what it holds, or by what it may get.
  func validateRates(_ specification: ClaimSpecification, of state: ClaimState) throws(Refusal) {
    try validateRates(specification.attributes?.ethernet ?? EthernetAttributes())
    if let problem = specification.attributes?.block?.problem { throw Refusal(.invalidArgument, problem) }
    let check = { (node: EndNodeState) throws(Drop) in
      // By the path that it has, or by any.
      let paths = state.assignment.map { [$0.path] } ?? node.paths(for: specification)
      var refusal: Drop?
      for path in paths {
        do throws(Drop) {
          try checkAttributes(node.offer(on: path), of: node, for: specification)
          refusal = nil
          break
        } catch { refusal = error }
      }
      if let refusal { throw refusal }
      try checkCapacity(of: node, for: specification)
    }
    guard let held = state.assignment.flatMap({ endNodes[$0.endNode] }) else {
      return try require(oneOf: specification, check)
    }
    do throws(Drop) { try check(held) } catch { throw Refusal(.invalidArgument, error.message) }
  }

  func validateClass(_ deviceClass: String) throws(Refusal) {
    guard !deviceClass.isEmpty else { throw Refusal(.invalidArgument, "the claim names no device class") }
    guard endNodes.ids(ofClass: deviceClass).isEmpty else { return }
    let known = Set(hosts.all.flatMap { $0.record.plugins.map(\.deviceClass) }).union(endNodes.classes)
      .subtracting([""])  // of plugins that have never answered
    guard !known.contains(deviceClass) else { return }
    throw Refusal(
      .invalidArgument,
      "no host has a plugin for the class '\(Names.shown(deviceClass))'; "
        + (known.isEmpty ? "no plugin has been reported yet" : "known classes: \(Names.list(known))"))
  }

  func validateHost(_ host: String) throws(Refusal) {
    guard !host.isEmpty else {
      throw Refusal(
        .invalidArgument,
        "the claim names no host to use the function on: name one, or several of which one will do, or a host selector")
    }
    try requireHost(host)
  }

  func requireHost(_ host: String) throws(Refusal) {
    guard hosts[host] == nil else { return }
    throw Refusal(
      .invalidArgument,
      "there is no host '\(Names.shown(host))'"
        + Names.suggestion(for: host, among: Array(hosts.names), of: "hosts"))
  }

  private func validatePaths(_ paths: [Path]) throws(Refusal) {
    for path in paths {
      switch path {
      case .direct, .directSoftware, .fabric, .mediated: continue
      case .unspecified, .unrecognized:
        throw Refusal(
          .invalidArgument,
          "the path '\(path.word)' is not known; known paths: direct, direct-software, fabric, mediated")
      }
    }
  }

  private func validateLossPolicy(_ policy: LossPolicy) throws(Refusal) {
    // A policy of a later version must not be taken for "keep": who asked for it relies on it.
    guard case .unrecognized(let number) = policy else { return }
    throw Refusal(.invalidArgument, "the loss policy number \(number) is not known; known ones: KEEP, SELF_FENCE")
  }

  private func validateConsumer(_ specification: ClaimSpecification) throws(Refusal) {
    let consumer = specification.consumer ?? Consumer()
    if case .networkNamespace(let namespace) = consumer.kind,
      let problem = Names.problem(withNamespaceName: namespace.name)
    {
      throw Refusal(.invalidArgument, problem)
    }
    if case .virtualMachine(let machine) = consumer.kind, !machine.qmpSocket.isEmpty, !machine.qmpSocket.hasPrefix("/")
    {
      throw Refusal(
        .invalidArgument,
        "'\(Names.shown(machine.qmpSocket))' is no QMP socket of a virtual machine: name one by its absolute path")
    }
    if let kind = consumer.kind, kind.takesWholeDevice, !consumer.interfaceName.isEmpty {
      throw Refusal(
        .invalidArgument,
        "a \(kind.words) makes its own interface of the function, so it cannot be named '\(Names.shown(consumer.interfaceName))'"
      )
    }
    if !consumer.interfaceName.isEmpty, let problem = Names.problem(withInterfaceName: consumer.interfaceName) {
      throw Refusal(.invalidArgument, problem)
    }
    if let words = specification.interfaceKey.flatMap({ wordsOfHolder(of: $0) }) {
      throw Refusal(.invalidArgument, words)
    }
  }

  /// Who has an interface already; nil: nobody.
  func wordsOfHolder(of key: InterfaceKey) -> String? {
    guard let other = claimOfInterface[key] else { return nil }
    let place = key.networkNamespace.isEmpty ? "" : " in the network namespace '\(key.networkNamespace)'"
    return "claim '\(other)' already has the interface '\(key.name)'\(place) on \(key.host)"
  }

  private func validateMAC(_ specification: ClaimSpecification) throws(Refusal) {
    guard let text = specification.attributes?.ethernet?.macAddress else { return }
    guard let mac = MACAddress(text) else {
      throw Refusal(
        .invalidArgument,
        "'\(Names.shown(text))' is no MAC address; one is six pairs of hexadecimal digits, such as 02:00:00:00:00:01")
    }
    guard mac.value != 0 else { throw Refusal(.invalidArgument, "the MAC address 00:00:00:00:00:00 is nobody's") }
    guard !mac.isMulticast else {
      throw Refusal(
        .invalidArgument,
        "\(mac) is a multicast MAC address (its first byte is odd); an interface needs a unicast one")
    }
    if let other = claimOfMAC[mac] {
      throw Refusal(.invalidArgument, "the MAC address \(mac) is in use by claim '\(other)'")
    }
    guard !orphanIndex.uses(mac) else {
      throw Refusal(
        .invalidArgument,
        "the MAC address \(mac) is in use by a function that no claim stands behind; see: iov orphan list")
    }
    if let node = endNodes["\(specification.deviceClass)/\(mac)"] {
      throw Refusal(.invalidArgument, "the MAC address \(mac) is that of the end node \(node.record.name)")
    }
  }

  private func validateEthernet(_ ethernet: EthernetAttributes) throws(Refusal) {
    func refuse(_ message: String) -> Refusal { Refusal(.invalidArgument, message) }
    if let vlan = ethernet.vlan, !(1...4094).contains(vlan) {
      throw refuse("VLAN \(vlan) is asked for; VLANs are 1 to 4094. For packets without a tag leave it out")
    }
    if let priority = ethernet.vlanPriority, priority > 7 {
      throw refuse("a VLAN priority of \(priority) is asked for; priorities are 0 to 7")
    }
    if ethernet.vlan == nil, ethernet.vlanPriority != nil || ethernet.vlanProtocol != .unspecified {
      throw refuse("a VLAN's priority or protocol is asked for without the VLAN itself")
    }
    if case .unrecognized(let number) = ethernet.vlanProtocol {
      throw refuse("the VLAN protocol number \(number) is not known; known ones: IEEE_8021Q, IEEE_8021AD")
    }
    if case .unrecognized(let number) = ethernet.linkState {
      throw refuse("the link state number \(number) is not known; known ones: AUTO, ENABLED, DISABLED")
    }
    if case .unrecognized(let number) = ethernet.rateGuarantee {
      throw refuse("the rate guarantee number \(number) is not known; known ones: REQUIRED, BEST_EFFORT")
    }
    if let queues = ethernet.queues, !Self.queues.contains(queues) {
      throw Refusal(
        .invalidArgument,
        "\(queues) queues are asked for; a function has \(Self.queues.lowerBound) to \(Self.queues.upperBound)")
    }
    try validateRates(ethernet)
  }

  private static var queues: ClosedRange<UInt32> { 1...256 }

  /// Linux counts what it lets through in whole bytes per second.
  private static var leastBitsPerSecond: UInt64 { 8 }

  private func validateRates(_ ethernet: EthernetAttributes) throws(Refusal) {
    for (kind, rate) in [
      ("transmit", ethernet.maxTransmitBitsPerSecond), ("receive", ethernet.maxReceiveBitsPerSecond),
    ] {
      guard let rate, rate > 0, rate < Self.leastBitsPerSecond else { continue }
      throw Refusal(
        .invalidArgument,
        "a maximum \(kind) rate of \(rate) bit/s is asked for; the smallest one is \(Self.leastBitsPerSecond) bit/s. Ask for that "
          + "or more, or for 0, which is no limit")
    }
    if let least = ethernet.minTransmitBitsPerSecond, let most = ethernet.maxTransmitBitsPerSecond, most > 0,
      least > most
    {
      throw Refusal(
        .invalidArgument, "a minimum transmit rate of \(least) bit/s is above the maximum of \(most) bit/s")
    }
  }

  private func validateEndNode(_ specification: ClaimSpecification) throws(Refusal) {
    guard let selector = specification.endNode else { return }
    if !selector.host.isEmpty { try requireHost(selector.host) }
    guard !selector.name.isEmpty else { return }
    let named = endNodes.ids(named: selector.name).compactMap { endNodes[$0] }.filter { !$0.isServed }.map(\.record)
    guard !named.isEmpty else {
      let known = endNodes.ids(ofClass: specification.deviceClass).compactMap { endNodes[$0]?.record.name }
      throw Refusal(
        .invalidArgument,
        "there is no end node '\(Names.shown(selector.name))'"
          + Names.suggestion(for: selector.name, among: known, of: "end nodes of class \(specification.deviceClass)"))
    }
    guard let other = named.map(\.deviceClass).min(),
      !named.contains(where: { $0.deviceClass == specification.deviceClass })
    else { return }
    throw Refusal(
      .invalidArgument,
      "end node '\(selector.name)' is of class \(other), the claim asks for class \(specification.deviceClass)")
  }
}
