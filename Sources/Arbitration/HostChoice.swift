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
  private let kinds = Kinds()

  /// Found once somebody asks: where the first host does, nobody does.
  private final class Kinds { var all: [Kind]? }

  /// The places, in order, of those that are the same to every end node that is not theirs.
  private struct Kind {
    var all: [Int] = []
    /// Of those whose rack is known.
    var ofRack: [String: [Int]] = [:]
  }

  fileprivate init(_ hosts: [String], absence: String = "") {
    self.hosts = hosts
    self.absence = absence
    // Most often there is one.
    places = hosts.count > 8 ? Dictionary(hosts.enumerated().map { ($1, $0) }) { first, _ in first } : nil
  }

  /// None.
  init() { self.init([]) }

  /// Those with a direct path to an end node, and how many stand before each.
  fileprivate func rootPlaces(of node: EndNodeState) -> [(host: String, place: Int)] {
    node.ownHosts.compactMap { host in place(of: host).map { (host, $0) } }.sorted { $0.1 < $1.1 }
  }

  private func place(of host: String) -> Int? {
    guard let places else { return hosts.firstIndex(of: host) }
    return places[host]
  }

  /// Those that use functions of an end node that is not theirs.
  fileprivate func users(of node: EndNodeState) -> [Other] {
    let known = node.users.filter { !node.isOwn($0) }.compactMap { host in
      place(of: host).map { Other(host: host, place: $0) }
    }
    return known.sorted { $0.place < $1.place }
  }

  /// Those with a direct path to an end node.
  func roots(of node: EndNodeState) -> [String] { rootPlaces(of: node).map(\.host) }

  /// The first without one.
  fileprivate func firstOther(than node: EndNodeState) -> Other? {
    hosts.indices.first { !node.isOwn(hosts[$0]) }.map { Other(host: hosts[$0], place: $0) }
  }

  /// Of those without a direct path the first one of each kind, and the first that is near. However many hosts there are, there are
  /// few kinds.
  ///
  /// - Parameter rack: the end node's.
  /// - Returns: nil: nobody has told the signs of hosts yet.
  fileprivate func others(than node: EndNodeState, in rack: String) -> [Other]? {
    let places = kinds.all?.flatMap { kind in
      [kind.all, kind.ofRack[rack] ?? []].compactMap { $0.first { !node.isOwn(hosts[$0]) } }
    }
    return places.map { Set($0).sorted().map { Other(host: hosts[$0], place: $0) } }
  }

  /// - Parameter signs: of each host its own.
  fileprivate func take(_ signs: [HostSign]) {
    var all: [HostSign.Kind: Kind] = [:]
    for (place, sign) in signs.enumerated() {
      all[sign.kind, default: Kind()].all.append(place)
      if !sign.rack.isEmpty { all[sign.kind]?.ofRack[sign.rack, default: []].append(place) }
    }
    kinds.all = Array(all.values)
  }

  fileprivate struct Other {
    var host: String
    var place: Int
  }
}

/// All that an end node can tell a host by that reaches it through another one.
private struct HostSign {
  var kind: Kind
  var rack: String

  struct Kind: Hashable {
    /// By what it is kept out of the claim's reach.
    var keptAway: Filter?
    /// Nil: it has no address.
    var mediationMTU: UInt32?
    var isIPv6: Bool
    /// Nil: no plugin serves.
    var mediators: [String]?
    /// Whether another claim has the interface there that this one names.
    var isNameTaken: Bool
    /// End nodes of which its group is not tried there.
    var failedEndNodes: [String]
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

/// The hosts that claims may go to, while those are the same: a condition is asked of all hosts, and one may be that of many claims.
struct HostsAllowed {
  struct Key: Hashable {
    var hosts: [String]
    var selector: String
  }

  fileprivate var names: [Key: [String]] = [:]
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
    return choice(of: connected, for: specification)
  }

  /// The same, of hosts that are known already from claims that may go to the same ones.
  func choice(for specification: ClaimSpecification, atMost: Int, _ known: inout HostsAllowed) -> HostChoice {
    guard specification.isForSeveralHosts else { return HostChoice([specification.host]) }
    let key = HostsAllowed.Key(hosts: specification.hosts, selector: specification.hostSelector)
    let names =
      known.names[key] ?? allowedHosts(for: specification, atMost: atMost) { $0.isConnected }.map(\.record.name)
    known.names[key] = names
    return choice(of: names.compactMap { hosts[$0] }, for: specification)
  }

  /// Of all that a claim may ever go to.
  func wholeChoice(for specification: ClaimSpecification) -> HostChoice {
    choice(of: allowedHosts(for: specification), for: specification)
  }

  private func choice(of hosts: [HostState], for specification: ClaimSpecification) -> HostChoice {
    HostChoice(
      hosts.map { place(of: $0, for: specification) }.sorted().map(\.name),
      absence: "it is to be used on \(specification.hostWords), and none is connected")
  }

  /// Those that differ in how they reach an end node: the ones with a direct path, and of the others one of each kind.
  func hostsToTry(from node: EndNodeState, for specification: ClaimSpecification, on choice: HostChoice) -> [String] {
    choice.roots(of: node) + others(than: node, for: specification, on: choice).map(\.host)
  }

  private func others(
    than node: EndNodeState, for specification: ClaimSpecification, on choice: HostChoice
  ) -> [HostChoice.Other] {
    let kinds = oneOfEachKind(than: node, for: specification, on: choice)
    guard node.isOutOfHosts else { return kinds }
    // Those that it serves are of a kind of their own.
    let users = choice.users(of: node)
    return users + kinds.filter { other in !users.contains { $0.place == other.place } }
  }

  private func oneOfEachKind(
    than node: EndNodeState, for specification: ClaimSpecification, on choice: HostChoice
  ) -> [HostChoice.Other] {
    let rack = rack(of: node)
    if let known = choice.others(than: node, in: rack) { return known }
    choice.take(choice.hosts.map { sign(of: hosts[$0] ?? HostState(record: Host()), for: specification) })
    return choice.others(than: node, in: rack) ?? []
  }

  private func sign(of host: HostState, for specification: ClaimSpecification) -> HostSign {
    var keptAway: Filter?
    do throws(Drop) { try checkKeptAway(from: host, for: specification) } catch { keptAway = error.filter }
    let kind = HostSign.Kind(
      keptAway: keptAway, mediationMTU: host.record.mediationAddress.isEmpty ? nil : host.record.mediationMtu,
      isIPv6: host.isIPv6, mediators: host.servingPlugin(of: specification.deviceClass)?.mediatorsAccepted,
      isNameTaken: specification.interfaceKey(on: host.record.name).flatMap { wordsOfHolder(of: $0) } != nil,
      failedEndNodes: endNodesThatFailed(on: host.record.name, for: specification))
    return HostSign(kind: kind, rack: host.rack)
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
    // All others are reached by one path, so that the first that can be will do, or the first that is near.
    let mediated = specification.paths.firstIndex(of: .mediated) ?? .max
    if search.best.map({ $0.candidate.preference >= mediated }) ?? true {
      if node.isOutOfHosts {
        // Whoever it serves may have a further function of it, wherever that one stands.
        for other in others(than: node, for: specification, on: choice) {
          _ = ends(&search, at: other, from: node, for: specification)
        }
      } else if let first = choice.firstOther(than: node),
        !ends(&search, at: first, from: node, for: specification)
      {
        for other in others(than: node, for: specification, on: choice) where other.place != first.place {
          if ends(&search, at: other, from: node, for: specification) { break }
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

  /// The same by a look at every host.
  func candidateAmongAll(
    _ node: EndNodeState, for specification: ClaimSpecification, on choice: HostChoice
  ) -> Candidate? {
    guard specification.isForSeveralHosts else { return try? candidate(node, for: specification) }
    var search = HostSearch<Int>()
    for (place, host) in choice.hosts.enumerated() {
      if let found = try? candidate(node, for: specification.used(on: host)) { search.take(found, at: place) }
    }
    return search.best?.candidate
  }

  /// Looks at one more host. Answers whether those that follow are no better.
  private func ends(
    _ search: inout HostSearch<Int>, at other: HostChoice.Other, from node: EndNodeState,
    for specification: ClaimSpecification
  ) -> Bool {
    do throws(Drop) {
      let found = try candidate(node, for: specification.used(on: other.host))
      search.take(found, at: other.place)
      return !found.prefersNearest || found.nearness == .rack || rack(of: node).isEmpty
    } catch {
      search.take(error)
      return !error.filter.dependsOnHost
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
}

extension Filter {
  /// Whether what it drops for one host may do for another one.
  fileprivate var dependsOnHost: Bool {
    switch self {
    case .mtu, .cordon, .taint, .host, .failed, .path, .plugin, .locality, .hosts: true
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
