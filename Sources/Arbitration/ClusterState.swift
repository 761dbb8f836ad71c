import Messages

/// A host and what is known of it since this arbiter began.
struct HostState {
  /// As the inventory shows it, with its state and lease.
  var record: Host
  var session: SessionID?
  /// On the arbiter's monotonic clock.
  var leaseEndsAtMilliseconds: UInt64 = 0
  /// Whether this session's inventory has come: before it, nobody knows what the host's plugins can do.
  var hasReportedInventory = false
  /// Whether a complete list of this host's functions has come since its last boot.
  var hasReportedFunctions = false
  /// Whether it has come in this session. Until then a higher token than ours may be out there.
  var hasReportedFunctionsInSession = false
  @Boxed private var belongings = Belongings()
  /// Whether a session was welcomed under an epoch of this arbiter's run.
  var hasObeyedThisRun = false

  /// What a host has: where it is asked for nothing of this, all of it is one reference to copy.
  private struct Belongings {
    var reports: [String: FunctionStatus] = [:]
    var orphans: [String: FunctionStatus] = [:]
    var claims = NameSet()
    var abandoned: Set<String> = []
    var fencings: Set<String> = []
    var listedEndNodes: Set<String> = []
    var fencing = Fencing()
  }

  init(record: Host) { self.record = record }

  /// What the host last said of each function that it has an entry for; by record name, so that what it says of another
  /// role is not taken for it.
  var reports: [String: FunctionStatus] {
    get { belongings.reports }
    _modify { yield &belongings.reports }
  }

  /// Functions that it has and no claim of this host stands behind; by record name, for it may have one in two roles.
  var orphans: [String: FunctionStatus] {
    get { belongings.orphans }
    _modify { yield &belongings.orphans }
  }

  /// The claims that this host has an entry for.
  var claims: NameSet {
    get { belongings.claims }
    _modify { yield &belongings.claims }
  }

  /// The record names of the abandoned entries that are for this host.
  var abandoned: Set<String> {
    get { belongings.abandoned }
    _modify { yield &belongings.abandoned }
  }

  /// The functions that this host fences in the place of another one.
  var fencings: Set<String> {
    get { belongings.fencings }
    _modify { yield &belongings.fencings }
  }

  /// The end nodes in this session's inventory.
  var listedEndNodes: Set<String> {
    get { belongings.listedEndNodes }
    _modify { yield &belongings.listedEndNodes }
  }

  var fencing: Fencing {
    get { belongings.fencing }
    _modify { yield &belongings.fencing }
  }

  var isConnected: Bool { session != nil && record.state == .connected }
  /// Nil: nobody is there to be told of anything.
  var bootOfSession: String? { session == nil ? nil : record.bootId }
  var isDead: Bool { record.death != nil }

  /// As the store keeps it: what does not outlive a session is left out.
  var durable: Host {
    var host = record
    host.state = .disconnected
    host.lease = nil
    return host
  }

  /// The device classes of which it can give functions. Before all that is on a host is known, a token could be drawn that
  /// is in use there already: a store that was restored from a backup does not know of it.
  var servedClasses: Set<String> {
    guard record.cordon == nil, isConnected, hasReportedInventory, hasReportedFunctionsInSession else { return [] }
    return Set(record.plugins.filter { $0.state == .serving }.map(\.deviceClass))
  }

  /// The serving plugin of a class, if there is one.
  func servingPlugin(of deviceClass: String) -> Plugin? {
    record.plugins.first { $0.deviceClass == deviceClass && $0.state == .serving }
  }
}

/// What one function takes of its end node.
struct Share {
  var path: Path
  /// That uses it; empty: nobody remembers.
  var host: String
  /// Nil: its place alone, as of most functions of network cards. There are as many of these as functions.
  private var part: Boxed<Part>?

  struct Part {
    var sizeBytes: UInt64 = 0
    /// What it may rely on.
    var rates = MinimumRates()
    /// Where it lies, once its host has said so.
    var extent: Extent?

    var isNothing: Bool { sizeBytes == 0 && rates == MinimumRates() && extent == nil }
  }

  init(path: Path, host: String, _ part: Part) {
    self.path = path
    self.host = host
    self.part = part.isNothing ? nil : Boxed(wrappedValue: part)
  }

  private var said: Part { part?.wrappedValue ?? Part() }
  var sizeBytes: UInt64 { said.sizeBytes }
  var rates: MinimumRates { said.rates }
  var extent: Extent? { said.extent }

  /// A host that answers for a function does not repeat what it was told of it, nor does one that has forgotten it. All of that
  /// is settled when a function is made.
  func completed(by known: Share?) -> Share {
    guard let known else { return self }
    let before = known.said
    var part = said
    if part.sizeBytes == 0 { part.sizeBytes = before.sizeBytes }
    part.rates = part.rates.completed(by: before.rates)
    part.extent = part.extent ?? before.extent
    return Share(
      path: path == .unspecified ? known.path : path, host: host.isEmpty ? known.host : host, part)
  }
}

/// How many functions are used by each path. There are so few paths that a table of them would cost more.
private struct PathCounts {
  private var (direct, directSoftware, fabric, mediated, unknown) = (0, 0, 0, 0, 0)

  subscript(path: Path) -> Int {
    get {
      switch path {
      case .direct: direct
      case .directSoftware: directSoftware
      case .fabric: fabric
      case .mediated: mediated
      case .unspecified, .unrecognized: unknown
      }
    }
    set {
      switch path {
      case .direct: direct = newValue
      case .directSoftware: directSoftware = newValue
      case .fabric: fabric = newValue
      case .mediated: mediated = newValue
      case .unspecified, .unrecognized: unknown = newValue
      }
    }
  }
}

/// What has an end node's record, and so all that follows from that alone.
protocol WithEndNodeRecord {
  /// Without `used`.
  var record: EndNode { get }
}

extension WithEndNodeRecord {
  var controllingHost: String { record.physicalFunction?.controllingHost ?? "" }
  /// To which nothing of it is mediated by another one.
  func isOwn(_ host: String) -> Bool { host == controllingHost || record.isRoot(host) }
  var ownHosts: [String] {
    record.roots.map(\.host) + (record.isRoot(controllingHost) ? [] : [controllingHost])
  }
}

/// An end node and what is in use of it.
struct EndNodeState: WithEndNodeRecord {
  /// Without `used`, and with the health that its controlling host reported.
  var record: EndNode
  /// The functions of it that are there, or may be: of claims, abandoned ones and orphans.
  private(set) var shares = Map<String, Share>()
  private var functionsByPath = PathCounts()
  /// How many each host uses; those of which nobody remembers it under no name.
  private var functionsByHost = Map<String, Int>()
  private(set) var usedSizeBytes: UInt64 = 0
  /// The minimum rates that are granted.
  private(set) var usedRates = MinimumRates()
  /// What other hosts say that they have under this identity: identities get cloned, and nobody can tell which one is
  /// meant.
  var conflicting: [String: EndNode] = [:]
  /// The roots that have said since this arbiter began what they have of it.
  var heardRoots: Set<String> = []
  /// Whether its controlling host can give functions of it.
  var isDriven = false
  /// Of its controlling host; empty: nobody knows.
  var rack = ""
  @Boxed var flapping: Flapping

  /// Of all that have not flapped, so that a copy of one touches no memory for it.
  private static let steady = Boxed(wrappedValue: Flapping())

  init(record: EndNode) {
    self.record = record
    _flapping = Self.steady
  }

  /// As the inventory shows it.
  var shown: EndNode {
    var node = record
    node.health = health
    var used = Capacity()
    used.functions = UInt32(shares.count)
    used.hosts = UInt32(clamping: hostsInUse)
    used.sizeBytes = usedSizeBytes
    used.operationsPerSecond = usedRates.operationsPerSecond
    used.bytesPerSecond = usedRates.bytesPerSecond
    // A maximum rate reserves nothing.
    used.bitsPerSecond = usedRates.bitsPerSecond
    used.queues = UInt32(clamping: usedRates.queues)
    node.used = used
    if flapping.isHeld {
      node.damping = Damping {
        $0.flips = UInt32(clamping: flapping.flips.count)
        $0.until = flapping.until
      }
    }
    return node
  }

  var health: Health {
    guard !conflicting.isEmpty, let other = conflicting.keys.min() else { return record.health ?? Health() }
    var health = Health()
    health.state = .unhealthy
    health.message =
      "\(other) reports the same identity as \(controllingHost): one of the two devices is a clone or has moved"
    return health
  }

  var isUnhealthy: Bool { !conflicting.isEmpty || record.health?.state == .unhealthy }

  mutating func takeShare(_ function: String, _ said: Share) {
    var share = said
    if let known = shares.updateValue(share, forKey: function) {
      share = said.completed(by: known)
      shares[function] = share
      forget(known)
    }
    functionsByPath[share.path] += 1
    functionsByHost[share.host, default: 0] += 1
    // What an agent made up must not overflow the sums.
    usedSizeBytes &+= share.sizeBytes
    usedRates.add(share.rates)
  }

  mutating func freeShare(_ function: String) {
    if let share = shares.removeValue(forKey: function) { forget(share) }
  }

  /// As if nothing of it were in use.
  var emptied: EndNodeState {
    var node = self
    (node.shares, node.functionsByPath, node.functionsByHost) = (Map(), PathCounts(), Map())
    (node.usedSizeBytes, node.usedRates) = (0, MinimumRates())
    return node
  }

  private mutating func forget(_ share: Share) {
    functionsByPath[share.path] -= 1
    functionsByHost[share.host] = functionsByHost[share.host].flatMap { $0 > 1 ? $0 - 1 : nil }
    usedSizeBytes &-= share.sizeBytes
    usedRates.subtract(share.rates)
  }

  /// An orphan of which nobody remembers how it was set up may be of any path.
  func functionsInUse(on path: Path) -> Int {
    functionsByPath[path] + functionsByPath[.unspecified]
  }

  /// Each of which nobody remembers who uses it may be another host's.
  var hostsInUse: Int {
    let unknown = functionsByHost[""] ?? 0
    return functionsByHost.count + (unknown > 0 ? unknown - 1 : 0)
  }

  /// The hosts that use functions of it, as far as anybody remembers.
  var users: [String] { functionsByHost.keys.filter { !$0.isEmpty } }

  /// Whether no host may use it that does not do so already.
  var isOutOfHosts: Bool {
    let limit = record.capacity?.hosts ?? 0
    return limit > 0 && hostsInUse >= Int(limit)
  }

  func hasRoom(forHost name: String) -> Bool { !isOutOfHosts || functionsByHost[name] != nil }

  /// Draws the next token of this end node.
  mutating func drawToken() -> FencingToken {
    var token = record.highestToken ?? FencingToken()
    token.value += 1
    record.highestToken = token
    return token
  }

  /// No token up to `value` will be drawn again. Answers whether that is news.
  mutating func rememberToken(_ value: UInt64) -> Bool {
    guard value > record.highestToken?.value ?? 0, value < record.tokenLimit else { return false }
    var token = FencingToken()
    token.value = value
    record.highestToken = token
    return true
  }
}

/// A claim and the entries of wanted state that stand for it.
struct ClaimState {
  var claim: Claim
  /// For the host that has the function itself, by the role DIRECT or SERVER.
  var controlling: WantedFunction?
  /// For the consumer's host, once the server has answered; mediated path only.
  var consumer: WantedFunction?

  init(claim: Claim) { self.claim = claim }

  var specification: ClaimSpecification { claim.specification ?? ClaimSpecification() }
  var phase: ClaimPhase { claim.status?.phase ?? .unspecified }
  var assignment: Assignment? { claim.status?.assignment }

  func entry(_ recordName: String, for host: String) -> WantedFunction? {
    if let entry = controlling, entry.host == host, entry.recordName == recordName { return entry }
    return consumer.flatMap { $0.host == host && $0.recordName == recordName ? $0 : nil }
  }

  /// Its hosts are to set this up, whatever was said of what it had before.
  mutating func prepare(_ assignment: Assignment) {
    withStatus {
      $0.phase = .preparing
      $0.assignment = assignment
      $0.health = nil
      $0.error = nil
      $0.pending = []
    }
  }

  /// Changes the status in place.
  mutating func withStatus(_ change: (inout ClaimStatus) -> Void) { change(&claim.status.orEmpty) }
}

extension Optional where Wrapped: Message {
  /// To be changed where it is: what is taken out and put back would be copied.
  var orEmpty: Wrapped {
    get { self ?? Wrapped() }
    _modify {
      var message = self ?? Wrapped()
      self = nil
      defer { self = message }
      yield &message
    }
  }
}

extension EndNode {
  func isRoot(_ host: String) -> Bool { roots.contains { $0.host == host } }
}
