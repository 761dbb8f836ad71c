import Messages

/// What functions of an end node can be and do on one path.
struct PathOffer {
  let path: Path
  /// Of all paths.
  private let all: Capabilities
  /// Where paths differ: of this one.
  private let own: PathCapabilities?

  var consumers: [String] { own?.consumers ?? all.consumers }

  /// How many at a time can take this path; nil: as many as the end node has.
  var functions: UInt32? {
    guard let own, own.functions > 0 else { return nil }
    return own.functions
  }

  var minimumMTU: UInt32 { own?.minimumMtu ?? all.minimumMtu }
  /// Zero: no limit is known.
  var maximumMTU: UInt32 { own?.maximumMtu ?? all.maximumMtu }
  private var attributes: [String] { own == nil ? all.attributes : [] }
  private var supports: [AttributeSupport]? { own?.attributes }

  /// Whether there is a word on an attribute; nil: the end node does not know it.
  func support(for attribute: String) -> AttributeSupport? {
    if let supports { return supports.first { $0.attribute == attribute } }
    guard attributes.contains(attribute) else { return nil }
    return AttributeSupport {
      $0.attribute = attribute
      $0.support = .supported
    }
  }

  func honours(_ attribute: String) -> Bool {
    guard let supports else { return attributes.contains(attribute) }
    guard let support = supports.first(where: { $0.attribute == attribute })?.support else { return false }
    return support == .supported || support == .unverified
  }

  var honoured: [String] { Set(supports?.map(\.attribute) ?? attributes).filter(honours).sorted() }
}

extension PathOffer {
  init(_ path: Path, of capabilities: Capabilities) {
    self.path = path
    all = capabilities
    own = capabilities.byPath.isEmpty ? nil : capabilities.byPath.first { $0.path == path }
  }
}

extension WithEndNodeRecord {
  func offer(on path: Path) -> PathOffer { PathOffer(path, of: record.capabilities ?? Capabilities()) }

  /// Whether any function of it can ever take the path.
  func has(_ path: Path) -> Bool {
    path == .mediated || record.capabilities?.paths.contains(path) ?? false
  }

  /// Those of a claim's paths that lead to it, whoever asks.
  func paths(for specification: ClaimSpecification) -> [Path] { specification.paths.filter(has) }

  /// " on the path direct", where paths differ.
  func words(on path: Path) -> String {
    record.capabilities?.byPath.isEmpty ?? true ? "" : " on the path \(path.word)"
  }
}

/// What a claim asks of the function itself, against one path to one end node.
extension Arbiter {
  func checkOffer(_ offer: PathOffer, of node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    try checkPart(offer, of: node, for: specification)
    try checkAttributes(offer, of: node, for: specification)
    try checkConsumer(offer, of: node, for: specification)
  }

  /// On the path direct a disk is handed over as it is, so a part of it must never get there for being asked for any path.
  private func checkPart(
    _ offer: PathOffer, of node: EndNodeState, for specification: ClaimSpecification
  ) throws(Drop) {
    guard offer.path == .direct, node.isBlockDevice, !specification.asksForAll(of: node),
      let size = specification.attributes?.block?.sizeBytes
    else { return }
    throw Drop(
      .capacity,
      "the path direct hands over the whole of \(node.record.name), \(node.record.capacity?.sizeBytes ?? 0) bytes, and "
        + "\(size) are asked for: allow direct-software or mediated, or leave the size out")
  }

  func checkAttributes(_ offer: PathOffer, of node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    guard let attributes = specification.attributes else { return }
    var place: String { "\(node.record.name) of class \(node.record.deviceClass)" }
    for attribute in attributes.fieldPaths {
      guard let support = offer.support(for: attribute) else {
        throw Drop(
          .attributes,
          "\(place) does not have the attribute \(attribute)\(node.words(on: offer.path)); it has "
            + (offer.honoured.isEmpty ? "none" : Names.list(offer.honoured)))
      }
      guard offer.honours(attribute) else {
        throw Drop(
          .attributes,
          "\(place) refuses the attribute \(attribute)\(node.words(on: offer.path))"
            + (support.reason.isEmpty ? "" : ": \(support.reason)"))
      }
      guard support.support == .unverified, Attributes.isLimit(attribute),
        !attributes.isBestEffort(attribute)
      else { continue }
      throw Drop(
        .attributes,
        "\(place) does not keep \(attribute)\(node.words(on: offer.path))"
          + (support.reason.isEmpty ? "" : " (\(support.reason))")
          + ": ask for best effort, or for another path")
    }
  }

  private func checkConsumer(
    _ offer: PathOffer, of node: EndNodeState, for specification: ClaimSpecification
  ) throws(Drop) {
    // Nothing said is the host itself; a plugin that names no consumers has no others either.
    guard let kind = specification.consumer?.kind ?? (offer.consumers.isEmpty ? nil : .host(HostConsumer())) else {
      return
    }
    guard kind.fieldNames.allSatisfy(offer.consumers.contains) else {
      throw Drop(
        .consumer,
        "\(node.record.name) of class \(node.record.deviceClass) cannot be used by a \(kind.words)"
          + "\(node.words(on: offer.path)); it can be used by: "
          + (offer.consumers.isEmpty ? "nothing" : Names.list(offer.consumers)))
    }
    guard specification.consumer?.interfaceName.isEmpty != false || !node.isBlockDevice else {
      throw Drop(.consumer, "class \(node.record.deviceClass) makes no interface, so none can be named")
    }
  }

  /// Functions that can take one path are fewer than an end node has.
  func checkRoom(on offer: PathOffer, in node: EndNodeState) throws(Drop) {
    guard let limit = offer.functions, node.functionsInUse(on: offer.path) >= Int(limit) else { return }
    throw Drop(
      .functions, "all \(limit) functions of \(node.record.name) for the path \(offer.path.word) are in use")
  }
}

extension Attributes {
  /// Whether the attribute is a maximum that somebody else relies on.
  static func isLimit(_ attribute: String) -> Bool {
    attribute == "ethernet.max_transmit_bits_per_second" || attribute == "ethernet.max_receive_bits_per_second"
      || BlockAttributes.limits.contains(attribute)
  }

  /// Whether the claim takes a limit, too, that its holder could get round.
  func isBestEffort(_ limit: String) -> Bool {
    let guarantee = BlockAttributes.limits.contains(limit) ? block?.rateGuarantee : ethernet?.rateGuarantee
    return guarantee == .bestEffort
  }
}

extension Consumer.Kind {
  /// As `Capabilities.consumers` spells it; all of them are needed.
  var fieldNames: [String] {
    switch self {
    case .host: ["host"]
    case .networkNamespace: ["network_namespace"]
    case .container(let container): container.userSpace ? ["container", "user_space"] : ["container"]
    case .virtualMachine: ["virtual_machine"]
    case .userSpace: ["user_space"]
    case .fileServer: ["file_server"]
    }
  }

  var words: String {
    switch self {
    case .host: "host"
    case .networkNamespace: "network namespace"
    case .container(let container): container.userSpace ? "user-space driver in a container" : "container"
    case .virtualMachine: "virtual machine"
    case .userSpace: "user-space driver"
    case .fileServer: "file server"
    }
  }

  /// Whether the consumer drives the function itself, so that the host sees no interface of it.
  var takesWholeDevice: Bool {
    switch self {
    case .virtualMachine, .userSpace: true
    case .container(let container): container.userSpace
    case .host, .networkNamespace, .fileServer: false
    }
  }
}
