import Messages
import Selectors

/// A claim may leave open on which of several hosts its function is used. Placement decides that together with the end node;
/// the assignment says which one it is, and it stays that one until the claim gets another function.
struct HostChoice {
  /// Of several those that are connected, the one with the fewest claims first, or of a claim that is packed with the most; before
  /// that, where a claim has peers, the one with the fewest functions of those.
  let hosts: [String]
  /// Why a claim that may go to several has none just now.
  let absence: String
  private let places: [String: Int]?

  fileprivate init(_ hosts: [String], absence: String = "") {
    self.hosts = hosts
    self.absence = absence
    // Most often there is one.
    places = hosts.count > 8 ? Dictionary(hosts.enumerated().map { ($1, $0) }) { first, _ in first } : nil
  }

  /// Those with a direct path to an end node, and how many stand before each.
  fileprivate func rootPlaces(of node: EndNodeState) -> [(host: String, place: Int)] {
    node.record.roots.compactMap { root in place(of: root.host).map { (root.host, $0) } }.sorted { $0.1 < $1.1 }
  }

  private func place(of host: String) -> Int? {
    guard let places else { return hosts.firstIndex(of: host) }
    return places[host]
  }

  /// Those with a direct path to an end node.
  func roots(of node: EndNodeState) -> [String] { rootPlaces(of: node).map(\.host) }

  /// Those that differ in how they reach an end node: the ones with a direct path, one of the others, and one of those that is near.
  func hostsToTry(for node: EndNodeState, isNear: (String) -> Bool) -> [String] {
    let others = others(than: node)
    let (first, near) = (others.first { _ in true }?.host, others.first { isNear($0.host) }?.host)
    return roots(of: node) + [first, near == first ? nil : near].compactMap { $0 }
  }

  /// Those without one.
  fileprivate func others(than node: EndNodeState) -> some Sequence<(host: String, place: Int)> {
    hosts.enumerated().lazy.filter { !node.record.isRoot($0.element) }.map { (host: $0.element, place: $0.offset) }
  }
}

/// What the hosts that a claim may go to are in order by: where it has peers, the functions of those; the claims, or of a claim that is
/// packed those that are missing; the name decides the rest.
private struct HostPlace: Comparable {
  var peers: Int
  var claims: Int
  var name: String

  static func < (one: HostPlace, other: HostPlace) -> Bool {
    (one.peers, one.claims, one.name) < (other.peers, other.claims, other.name)
  }
}

/// What came of looking from an end node at one host after the other.
private struct HostSearch<Place: Comparable> {
  private(set) var best: (candidate: Candidate, place: Place)?
  private(set) var furthest: Drop?

  mutating func take(_ candidate: Candidate, at place: Place) {
    let key = { (rank: Rank, place: Place) in (rank.preference, rank.distance, place) }
    guard best.map({ key(candidate.rank, place) < key($0.candidate.rank, $0.place) }) ?? true else { return }
    best = (candidate, place)
  }

  mutating func take(_ drop: Drop) {
    if furthest.map({ $0.filter < drop.filter }) ?? true { furthest = drop }
  }
}

extension Arbiter {
  /// - Parameter atMost: so many hosts, the first by name, where it is not asked which one is the best.
  func choice(for specification: ClaimSpecification, atMost: Int = .max) -> HostChoice {
    guard specification.isForSeveralHosts else { return HostChoice([specification.host]) }
    let connected = allowedHosts(for: specification, atMost: atMost) { $0.isConnected }
    return HostChoice(
      connected.map { place(of: $0, for: specification) }.sorted().map(\.name),
      absence: "it is to be used on \(specification.hostWords), and none is connected")
  }

  private func place(of host: HostState, for specification: ClaimSpecification) -> HostPlace {
    let sign = specification.placement?.rule == .pack ? -1 : 1
    return HostPlace(
      peers: peers(of: specification, at: .host(host.record.name)), claims: sign * host.claims.count,
      name: host.record.name)
  }

  /// Whether a claim may go to so many hosts that it is looked for among the end nodes, in their order, and not at each host.
  func isForManyHosts(_ specification: ClaimSpecification) -> Bool {
    specification.isForSeveralHosts && (specification.hosts.isEmpty || specification.hosts.count > 16)
  }

  /// The best way from an end node to one of its own roots that another host does not serve, for a claim that may go to several hosts.
  func candidateAtRoot(of node: EndNodeState, for specification: ClaimSpecification) -> Candidate? {
    var search = HostSearch<HostPlace>()
    for root in node.record.roots {
      guard let host = hosts[root.host], host.isConnected, allows(host, specification),
        let found = try? candidate(node, for: specification.used(on: root.host)), found.route.path != .mediated
      else { continue }
      search.take(found, at: place(of: host, for: specification))
    }
    return search.best?.candidate
  }

  /// By name; also those that are away.
  func allowedHosts(
    for specification: ClaimSpecification, atMost: Int = .max, where isMeant: (HostState) -> Bool = { _ in true }
  ) -> [HostState] {
    var allowed: [HostState] = []
    for name in specification.hosts.isEmpty ? hosts.names : OrderedSet(specification.hosts) {
      guard allowed.count < atMost else { break }
      if let host = hosts[name], isMeant(host), allows(host, specification) { allowed.append(host) }
    }
    return allowed
  }

  /// Whether a claim may have its function on a host.
  func allows(_ host: HostState, _ specification: ClaimSpecification) -> Bool {
    let name = host.record.name
    guard specification.isForSeveralHosts else { return name == specification.host }
    return (specification.hosts.isEmpty || specification.hosts.contains(name))
      && hostSelectors.matches(specification.hostSelector, host.record)
  }

  /// The best way from an end node to one of the hosts: by the preferred path, then to the host with the fewest claims.
  func candidate(
    _ node: EndNodeState, for specification: ClaimSpecification, on choice: HostChoice
  ) throws(Drop) -> Candidate {
    guard specification.isForSeveralHosts else { return try candidate(node, for: specification) }
    var search = HostSearch<Int>()
    for (host, place) in choice.rootPlaces(of: node) {
      do throws(Drop) { search.take(try candidate(node, for: specification.used(on: host)), at: place) } catch {
        search.take(error)
      }
    }
    // All others are reached by one path, so that the first will do, or the first that is near.
    let mediated = specification.paths.firstIndex(of: .mediated) ?? .max
    if search.best.map({ $0.candidate.preference >= mediated }) ?? true {
      for (host, place) in choice.others(than: node) {
        do throws(Drop) {
          let found = try candidate(node, for: specification.used(on: host))
          search.take(found, at: place)
          guard found.prefersNearest, found.nearness != .rack, !rack(of: node).isEmpty else { break }
        } catch {
          search.take(error)
          guard error.filter.dependsOnHost else { break }
        }
      }
    }
    if let best = search.best { return best.candidate }
    if let furthest = search.furthest { throw furthest }
    // What is wrong with the end node itself says more than that there is no host.
    do throws(Drop) { return try candidate(node, for: specification) } catch {
      throw error.filter == .host ? Drop(.host, choice.absence) : error
    }
  }

  // MARK: What is wrong with a choice whatever happens later

  func validateHosts(_ specification: ClaimSpecification) throws(Refusal) {
    guard specification.isForSeveralHosts else { return try validateHost(specification.host) }
    guard specification.host.isEmpty else {
      throw Refusal(
        .invalidArgument,
        "the claim names the host '\(Names.shown(specification.host))' and also \(specification.hostWords): either one host, or "
          + "several of which one is chosen")
    }
    for host in specification.hosts { try requireHost(host) }
    guard !specification.hostSelector.isEmpty else { return }
    do throws(SelectorError) { try hostSelectors.check(specification.hostSelector) } catch {
      throw Refusal(.invalidArgument, "the host selector, \(error.message)")
    }
  }

  /// The specification for each host that it may be on, as far as they are known; as it is if there is none.
  func onEachHost(_ specification: ClaimSpecification) -> [ClaimSpecification] {
    guard specification.isForSeveralHosts else { return [specification] }
    let allowed = allowedHosts(for: specification).map { specification.used(on: $0.record.name) }
    return allowed.isEmpty ? [specification] : allowed
  }
}

extension Filter {
  /// Whether what it drops for one host may do for another one.
  fileprivate var dependsOnHost: Bool {
    switch self {
    case .mtu, .cordon, .taint, .host, .path, .plugin, .locality: true
    default: false
    }
  }
}

extension ClaimSpecification {
  var isForSeveralHosts: Bool { !hosts.isEmpty || !hostSelector.isEmpty }

  /// The same, with its host chosen.
  func used(on host: String) -> ClaimSpecification {
    var result = self
    result.host = host
    return result
  }

  /// "b", "one of b, c", "a host of which label.rack == "r1" is so".
  var hostWords: String {
    guard isForSeveralHosts else { return host }
    let kind = hosts.isEmpty ? "a host" : "one of \(Names.list(hosts))"
    return hostSelector.isEmpty ? kind : "\(kind) of which \(hostSelector) is so"
  }

  /// One spelling: a list of one is that one.
  mutating func normalizeHosts() {
    guard isForSeveralHosts else { return }
    hosts = Set(hosts).sorted()
    if !hostSelector.isEmpty { hostSelector = Selector.normalized(hostSelector, Vocabulary<Host>.hosts) }
    guard hosts.count == 1, hostSelector.isEmpty, host.isEmpty || host == hosts[0] else { return }
    host = hosts[0]
    hosts = []
  }
}

extension ClaimState {
  /// Where its function is used; empty while that is open.
  var host: String { assignment?.host ?? specification.host }
}
