import Messages

/// Whether an end node can ever carry out a specification: nothing here changes with use or with who is connected.
extension Arbiter {
  /// The end nodes of a class in order of their ids.
  func endNodes(ofClass deviceClass: String) -> [EndNodeState] {
    (endNodesOfClass[deviceClass] ?? []).compactMap { endNodes[$0] }
  }

  /// Puts a new end node into the index of its class, which is kept in order.
  mutating func index(_ id: String, ofClass deviceClass: String) {
    let position = endNodesOfClass[deviceClass]?.firstIndex { $0 > id } ?? endNodesOfClass[deviceClass]?.count ?? 0
    endNodesOfClass[deviceClass, default: []].insert(id, at: position)
  }

  func isSelected(_ node: EndNodeState, by selector: EndNodeSelector?) -> Bool {
    guard let selector else { return true }
    let record = node.record
    return (selector.name.isEmpty || selector.name == record.name || selector.name == record.id)
      && (selector.host.isEmpty || record.isRoot(selector.host))
      && selector.labels.allSatisfy { record.labels[$0.key] == $0.value }
  }

  /// Throws the first thing that this end node can never do for the claim.
  func checkFitness(of node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    try checkAttributes(of: node, for: specification)
    try checkConsumer(of: node, for: specification)
    try checkCapacity(of: node, for: specification)
    try checkMTU(of: node, for: specification)
  }

  func checkAttributes(of node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    guard specification.lossPolicy != .selfFence || !node.isBlockDevice else {
      throw Drop(
        .attributes,
        "self-fence is for functions that hold no data; a claim of class \(node.record.deviceClass) keeps its part of "
          + node.record.name)
    }
    let honoured = node.record.capabilities?.attributes ?? []
    for attribute in specification.attributes?.fieldPaths ?? [] where !honoured.contains(attribute) {
      throw Drop(
        .attributes,
        "\(node.record.name) of class \(node.record.deviceClass) does not have the attribute \(attribute); it has "
          + (honoured.isEmpty ? "none" : Names.list(honoured)))
    }
  }

  private func checkConsumer(of node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    guard let kind = specification.consumer?.kind else { return }
    let consumers = node.record.capabilities?.consumers ?? []
    guard consumers.contains(kind.fieldName) else {
      throw Drop(
        .consumer,
        "\(node.record.name) of class \(node.record.deviceClass) cannot be used by a \(kind.words); it can be used by: "
          + (consumers.isEmpty ? "nothing" : Names.list(consumers)))
    }
    guard specification.consumer?.interfaceName.isEmpty != false || !node.isBlockDevice else {
      throw Drop(.consumer, "class \(node.record.deviceClass) makes no interface, so none can be named")
    }
  }

  func checkCapacity(of node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    let record = node.record
    let capacity = record.capacity ?? Capacity()
    let rates = [
      ("transmit", specification.attributes?.ethernet?.maxTransmitBitsPerSecond),
      ("receive", specification.attributes?.ethernet?.maxReceiveBitsPerSecond),
    ]
    for (direction, rate) in rates {
      guard let rate, capacity.bitsPerSecond > 0, rate > capacity.bitsPerSecond else { continue }
      throw Drop(
        .capacity,
        "a maximum \(direction) rate of \(rate) bit/s is above the \(capacity.bitsPerSecond) bit/s of \(record.name)")
    }
    guard node.isBlockDevice else { return }
    guard let size = specification.attributes?.block?.sizeBytes else {
      throw Drop(.capacity, "a claim of class \(record.deviceClass) must say its size (block.size_bytes)")
    }
    guard size > 0 else { throw Drop(.capacity, "a size of zero bytes is asked for") }
    let block = UInt64(record.capabilities?.blockSizeBytes ?? 0)
    guard block == 0 || size % block == 0 else {
      throw Drop(.capacity, "a size of \(size) bytes is not a multiple of the \(block)-byte blocks of \(record.name)")
    }
    guard size <= capacity.sizeBytes else {
      throw Drop(.capacity, "a size of \(size) bytes is above the \(capacity.sizeBytes) bytes of \(record.name)")
    }
  }

  /// Fails only if there is a way to the host and none is wide enough: a way that is closed now may be wide.
  private func checkMTU(of node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    guard let mtu = specification.attributes?.ethernet?.mtu, let host = hosts[specification.host] else { return }
    let capabilities = node.record.capabilities ?? Capabilities()
    guard mtu >= capabilities.minimumMtu else {
      throw Drop(
        .mtu, "an MTU of \(mtu) is below \(capabilities.minimumMtu), the least that \(node.record.name) can do")
    }
    guard capabilities.maximumMtu == 0 || mtu <= capabilities.maximumMtu else {
      throw Drop(.mtu, "an MTU of \(mtu) is above \(capabilities.maximumMtu), the most that \(node.record.name) can do")
    }
    var tooNarrow: Drop?
    for path in specification.paths {
      guard let route = try? route(by: path, from: node, to: host) else { continue }
      guard let limit = route.mtuLimit, mtu > limit.bytes else { return }
      tooNarrow =
        tooNarrow ?? Drop(.mtu, "an MTU of \(mtu) is above \(limit.bytes) on the path \(path.word): \(limit.reason)")
    }
    if let tooNarrow { throw tooNarrow }
  }
}

extension EndNodeState {
  /// Whether its functions are parts of a size.
  var isBlockDevice: Bool { (record.capacity?.sizeBytes ?? 0) > 0 }
}

extension Consumer.Kind {
  /// As `Capabilities.consumers` spells it.
  var fieldName: String {
    switch self {
    case .host: "host"
    case .networkNamespace: "network_namespace"
    }
  }

  var words: String {
    switch self {
    case .host: "host"
    case .networkNamespace: "network namespace"
    }
  }
}
