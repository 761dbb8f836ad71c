import Messages

/// Whether an end node can ever carry out a specification: nothing here changes with use or with who is connected.
extension Arbiter {
  /// Throws the first thing that this end node can never do for the claim.
  func checkFitness(of node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    try checkData(of: node, for: specification)
    try checkPaths(of: node, for: specification)
    try checkCapacity(of: node, for: specification)
    try checkMTU(of: node, for: specification)
  }

  /// A claim that may be used on several hosts needs one of them alone.
  func checkFitness(
    of node: EndNodeState, for specification: ClaimSpecification, on choice: HostChoice
  ) throws(Drop) {
    // All but the size of packets is the same on every host.
    try checkFitness(of: node, for: specification)
    var refusal: Drop?
    for host in hostsToTry(from: node, for: specification, on: choice) where node.canServe(specification, on: host) {
      do throws(Drop) { return try checkMTU(of: node, for: specification.used(on: host)) } catch { refusal = error }
    }
    if let refusal { throw refusal }
  }

  func checkData(of node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    guard node.isBlockDevice else { return }
    guard !specification.upgrade else {
      throw Drop(
        .attributes,
        "an upgrade is for functions that hold no data: what a claim of class \(node.record.deviceClass) has on "
          + "\(node.record.name) would be lost with each")
    }
    guard specification.unhealthySeconds == nil || specification.evictionPolicy != .unspecified else {
      throw Drop(
        .attributes,
        "an unhealthy function is to be taken away, and what a claim of class \(node.record.deviceClass) has on "
          + "\(node.record.name) would be lost with it; if that is meant, name an eviction policy other than never")
    }
    guard specification.lossPolicy == .selfFence else { return }
    throw Drop(
      .attributes,
      "self-fence is for functions that hold no data; a claim of class \(node.record.deviceClass) keeps its part of "
        + node.record.name)
  }

  /// One of the claim's paths must do. Where none leads to the end node at all, the routes tell why.
  func checkPaths(of node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    var refusals: [Drop] = []
    for path in node.paths(for: specification) {
      do throws(Drop) { return try checkOffer(node.offer(on: path), of: node, for: specification) } catch {
        if !refusals.contains(where: { $0.message == error.message }) { refusals.append(error) }
      }
    }
    guard let filter = refusals.map(\.filter).max() else { return }
    throw Drop(filter, refusals.map(\.message).joined(separator: "; "))
  }

  func checkCapacity(of node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    let record = node.record
    let capacity = record.capacity ?? Capacity()
    if let ethernet = specification.attributes?.ethernet { try check(ratesOf: ethernet, against: capacity, of: record) }
    try checkMinima(of: node, for: specification)
    guard node.isBlockDevice else { return }
    // Without a size it is the whole.
    guard let size = specification.attributes?.block?.sizeBytes else { return }
    guard size > 0 else { throw Drop(.capacity, "a size of zero bytes is asked for") }
    let block = UInt64(record.capabilities?.blockSizeBytes ?? 0)
    guard size != capacity.sizeBytes else { return }
    guard block == 0 || size % block == 0 else {
      throw Drop(.capacity, "a size of \(size) bytes is not a multiple of the \(block)-byte blocks of \(record.name)")
    }
    guard size <= capacity.sizeBytes else {
      throw Drop(.capacity, "a size of \(size) bytes is above the \(capacity.sizeBytes) bytes of \(record.name)")
    }
  }

  private func check(
    ratesOf ethernet: EthernetAttributes, against capacity: Capacity, of record: EndNode
  ) throws(Drop) {
    let rates = [
      ("maximum transmit", ethernet.maxTransmitBitsPerSecond), ("maximum receive", ethernet.maxReceiveBitsPerSecond),
    ]
    for (kind, rate) in rates {
      guard let rate, capacity.bitsPerSecond > 0, rate > capacity.bitsPerSecond else { continue }
      throw Drop(
        .capacity,
        "a \(kind) rate of \(rate) bit/s is above the \(capacity.bitsPerSecond) bit/s of \(record.name)")
    }
  }

  /// Fails only if there is a way to the host and none is wide enough: a way that is closed now may be wide.
  func checkMTU(of node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    guard let mtu = specification.attributes?.ethernet?.mtu, let host = hosts[specification.host] else { return }
    let offers = node.paths(for: specification).map(node.offer)
    let wide = offers.filter { mtu >= $0.minimumMTU && ($0.maximumMTU == 0 || mtu <= $0.maximumMTU) }
    if let offer = offers.first, wide.isEmpty {
      let (place, isSmall) = (node.record.name + node.words(on: offer.path), mtu < offer.minimumMTU)
      throw Drop(
        .mtu,
        isSmall
          ? "an MTU of \(mtu) is below \(offer.minimumMTU), the least that \(place) can do"
          : "an MTU of \(mtu) is above \(offer.maximumMTU), the most that \(place) can do")
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

extension WithEndNodeRecord {
  /// Whether its functions are parts of a size.
  var isBlockDevice: Bool { sizeBytes > 0 }
  var sizeBytes: UInt64 { record.capacity?.sizeBytes ?? 0 }

  /// Nothing is ever mediated to the host that controls it, unless another one can.
  fileprivate func canServe(_ specification: ClaimSpecification, on host: String) -> Bool {
    host != controllingHost || record.roots.count > 1 || specification.paths != [.mediated]
  }
}

extension ClaimSpecification {
  /// Whether a disk is asked for as a whole: by its size, or by no size at all.
  func asksForAll(of node: EndNodeState) -> Bool {
    node.isBlockDevice && attributes?.block?.sizeBytes ?? node.sizeBytes == node.sizeBytes
  }
}
