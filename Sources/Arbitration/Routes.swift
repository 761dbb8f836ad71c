import Messages

/// How a function of an end node can reach a host.
struct Route: Hashable {
  var path: Path
  /// Mediated path only.
  var mediator: String?
  var serverAddress = ""
  var consumerAddress = ""
  /// What this route can carry at most, in bytes of payload; nil: no limit is known.
  var mtuLimit: MTULimit?
}

struct MTULimit: Hashable {
  enum Cause: Hashable {
    case endNode(String)
    case network(ofHost: String, carries: UInt32, overhead: UInt32)
  }

  var bytes: UInt32
  var cause: Cause

  var reason: String {
    switch cause {
    case .endNode(let name): "the most that \(name) can do"
    case .network(let host, let carries, let overhead):
      "the mediation network of \(host) carries \(carries), less \(overhead) for VXLAN"
    }
  }
}

/// The filters of placement, in the order in which they are tried.
enum Filter: Int, CaseIterable, Comparable, Sendable {
  case deviceClass, source, quota, selector, attributes, consumer, capacity, mtu
  case cordon, taint, flapping, health, host, failed, controllingHost, roots, plugin, path, locality
  case functions, hosts, size, rate, priority

  /// As `PendingReason.filter` carries it.
  var name: String {
    switch self {
    case .deviceClass: "class"
    case .controllingHost: "controlling-host"
    default: "\(self)"
    }
  }

  /// Whether what it drops would pass if others did not use what they do.
  var isOfUse: Bool { self >= .functions }

  static func < (one: Filter, other: Filter) -> Bool { one.rawValue < other.rawValue }
}

/// Why an end node, or one way to it, is not possible just now.
struct Drop: Error {
  var filter: Filter
  var message: String

  init(_ filter: Filter, _ message: String) {
    self.filter = filter
    self.message = message
  }
}

/// The bytes that VXLAN puts round a frame's payload: inner Ethernet 14, VXLAN 8, UDP 8, and IPv4 20 or IPv6 40
/// (RFC 7348, section 5).
private func vxlanOverhead(isIPv6: Bool) -> UInt32 { isIPv6 ? 70 : 50 }

extension Arbiter {
  /// The way by `path` from an end node to a host, or why there is none.
  func route(by path: Path, from node: EndNodeState, to host: HostState) throws(Drop) -> Route {
    try route(by: path, from: node, of: hosts[node.controllingHost], to: host)
  }

  /// - Parameter controller: the host that controls it, if that is known.
  func route(
    by path: Path, from node: EndNodeState, of controller: HostState?, to host: HostState
  ) throws(Drop) -> Route {
    switch path {
    case .direct, .directSoftware: return try directRoute(by: path, from: node, to: host)
    case .mediated: return try mediatedRoute(from: node, of: controller, to: host)
    case .fabric: throw Drop(.path, "no fabric manager can bind a function of \(node.record.name) into another host")
    case .unspecified, .unrecognized: throw Drop(.path, "the path is not known")
    }
  }

  private func directRoute(by path: Path, from node: EndNodeState, to host: HostState) throws(Drop) -> Route {
    guard node.record.isRoot(host.record.name) else {
      throw Drop(.path, "\(host.record.name) has no direct path to \(node.record.name)")
    }
    guard node.record.capabilities?.paths.contains(path) ?? false else {
      throw Drop(.path, "\(node.record.name) has no functions for the path \(path.word)")
    }
    guard path == .direct || !node.isMultiRoot || node.controllingHost == host.record.name else {
      throw Drop(.path, "parts of \(node.record.name) are made by \(node.controllingHost), which controls it")
    }
    return Route(path: path, mediator: nil, mtuLimit: deviceLimit(of: node, on: path))
  }

  private func mediatedRoute(
    from node: EndNodeState, of server: HostState?, to consumer: HostState
  ) throws(Drop) -> Route {
    let name = node.record.name
    guard node.controllingHost != consumer.record.name else {
      throw Drop(.path, "\(consumer.record.name) controls \(name) itself, so there is nothing to mediate")
    }
    guard let server else {
      throw Drop(.controllingHost, "the controlling host of \(name), \(node.controllingHost), is not known")
    }
    try checkMediationAddress(of: server)
    try checkMediationAddress(of: consumer)
    guard server.isIPv6 == consumer.isIPv6 else {
      throw Drop(
        .path,
        "the mediation addresses \(server.record.mediationAddress) of \(server.record.name) and "
          + "\(consumer.record.mediationAddress) of \(consumer.record.name) are of different families")
    }
    let mediator = try mediator(from: server, of: node, to: consumer)
    var route = Route(
      path: .mediated, mediator: mediator, serverAddress: server.record.mediationAddress,
      consumerAddress: consumer.record.mediationAddress, mtuLimit: deviceLimit(of: node, on: .mediated))
    if mediator == "vxlan" {
      route.mtuLimit = lower(route.mtuLimit, lower(underlayLimit(of: server), underlayLimit(of: consumer)))
    }
    return route
  }

  private func checkMediationAddress(of host: HostState) throws(Drop) {
    guard host.record.mediationAddress.isEmpty else { return }
    throw Drop(.path, "\(host.record.name) has no mediation address")
  }

  /// The first mediator, in the server's order, that both sides have.
  private func mediator(
    from server: HostState, of node: EndNodeState, to consumer: HostState
  ) throws(Drop) -> String {
    let deviceClass = node.record.deviceClass
    guard let offering = server.servingPlugin(of: deviceClass) else {
      throw Drop(.plugin, "no plugin of class \(deviceClass) serves on \(server.record.name)")
    }
    guard let accepting = consumer.servingPlugin(of: deviceClass) else {
      throw Drop(.plugin, "no plugin of class \(deviceClass) serves on \(consumer.record.name)")
    }
    let allowed = node.record.capabilities?.mediators ?? []
    let offered = offering.mediatorsOffered.lazy.filter { allowed.isEmpty || allowed.contains($0) }
    guard let mediator = offered.first(where: accepting.mediatorsAccepted.contains) else {
      throw Drop(
        .path,
        "\(server.record.name) offers \(words(Array(offered))) for \(node.record.name), \(consumer.record.name) accepts "
          + words(accepting.mediatorsAccepted))
    }
    return mediator
  }

  private func words(_ mediators: [String]) -> String {
    mediators.isEmpty ? "no mediator" : mediators.joined(separator: ", ")
  }

  private func deviceLimit(of node: EndNodeState, on path: Path) -> MTULimit? {
    let maximum = node.offer(on: path).maximumMTU
    guard maximum > 0 else { return nil }
    return MTULimit(bytes: maximum, cause: .endNode(node.record.name))
  }

  /// The first one where they are equal.
  private func lower(_ one: MTULimit?, _ other: MTULimit?) -> MTULimit? {
    guard let one, let other else { return one ?? other }
    return other.bytes < one.bytes ? other : one
  }

  private func underlayLimit(of host: HostState) -> MTULimit? {
    let underlay = host.record.mediationMtu
    let overhead = vxlanOverhead(isIPv6: host.isIPv6)
    guard underlay > overhead else { return nil }
    return MTULimit(
      bytes: underlay - overhead,
      cause: .network(ofHost: host.record.name, carries: underlay, overhead: overhead))
  }
}

extension HostState {
  var isIPv6: Bool { record.mediationAddress.hasByte(UInt8(ascii: ":")) }
}

extension Path {
  /// As people write it.
  var word: String {
    switch self {
    case .unspecified: "unspecified"
    case .direct: "direct"
    case .directSoftware: "direct-software"
    case .fabric: "fabric"
    case .mediated: "mediated"
    case .unrecognized(let number): "number \(number)"
    }
  }
}
