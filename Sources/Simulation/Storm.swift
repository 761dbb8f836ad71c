import Arbitration
import Messages

/// A rack in which everything goes wrong, seen at the devices: hosts crash and come back, agents restart, messages are
/// late or lost with their session, duplicated across sessions, and the coordinator begins again from its store, or
/// from an older copy of it. Whoever says that a host is dead says the truth.
struct Storm {
  let seed: UInt64
  var dice: Dice
  var arbiter: Arbiter
  var hosts: [String: StormHost] = [:]
  var store: [RecordKey: Record] = [:]
  var now: UInt64 = 1_000_000
  /// Hosts a, b and c see it.
  var device = SharedDevice()
  /// Those of its roots that have not said what they have since the coordinator began.
  var unheardRoots: Set<String> = []
  /// The functions whose holders can have written something.
  var readyOnce: Set<String> = []
  /// An older copy of the store took the place of the present one.
  private(set) var hasForgotten = false
  var answers: [CallID: Result<Answer, Refusal>] = [:]
  /// The claims that were acknowledged and not deleted: name to uid.
  var acknowledged: [String: String] = [:]
  private var copies: [(store: [RecordKey: Record], acknowledged: [String: String])] = []
  /// Functions that a restored older copy knows nothing of: orphans, until somebody adopts or purges them.
  private var forgotten: Set<String> = []
  /// Of sessions that are over; they may still arrive.
  private var stragglers: [Event] = []
  private var repeated: [Event] = []
  private var lastID: UInt64 = 0
  /// What has happened that must never happen.
  private(set) var failures: [String] = []
  static let clusterID = "5f0c0e0a-0000-4000-8000-000000000001"
  private let settings: ArbiterSettings
  /// Some claims are for a file server, and others from those.
  let hasFileServers: Bool
  /// What is wrong with the arbiter, to see whether the storm finds it.
  let flaw: Flaw?
  /// What a flaw has yet to store.
  private var late: [Effect] = []

  init(seed: UInt64, hasFileServers: Bool = false, flaw: Flaw? = nil) throws(Refusal) {
    self.seed = seed
    self.hasFileServers = hasFileServers
    self.flaw = flaw
    settings = flaw?.settings ?? ArbiterSettings(automaticFenceHosts: ["d"])
    dice = Dice(state: seed)
    arbiter = try Arbiter(clusterID: Self.clusterID, version: "test", records: [], settings: settings)
    let plugins = [ethernetPlugin(), sataPlugin()]
    for (name, address) in [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3"), ("d", "10.0.0.4")] {
      hosts[name] = StormHost(name: name, address: address, plugins: plugins, endNodes: [])
    }
    hosts["a"]?.endNodes = [card("ethernet/a", functions: 3)]
    hosts["c"]?.endNodes = [disk("sata/c"), card("ethernet/c", on: "eth5", functions: 2)]
    hosts["d"]?.endNodes = [disk("sata/d", on: "sdd")]
    for name in ["a", "b", "c"] { hosts[name]?.endNodes.append(sharedDisk(sharedID)) }
    if hasFileServers { for name in hosts.keys.sorted() { hosts[name]?.admitFileServers() } }
    hosts["b"]?.watchdogMilliseconds = 8000
    hosts["c"]?.watchdogMilliseconds = 4000
    perform(arbiter.begin())
    for name in hosts.keys.sorted() { connect(name) }
    for name in hosts.keys.sorted() { exchange(name) }
  }

  private mutating func roll(_ range: Range<Int>) -> Int { Int.random(in: range, using: &dice) }
  private mutating func nextID() -> UInt64 {
    lastID += 1
    return lastID
  }

  // MARK: What happens

  mutating func act() {
    let host = ["a", "b", "c", "d"].randomElement(using: &dice) ?? "a"
    let name = "claim-\(roll(0..<7))"
    let choice = roll(0..<60)
    switch choice {
    case 0, 1, 2, 3: create(name, for: host)
    case 4, 5: delete(name, cascade: hasFileServers && roll(0..<2) == 0)
    case 6, 7, 8: exchange(host)
    case 9: hosts[host]?.toHost.isEmpty == false ? deliverToHost(host) : exchange(host)
    case 10: deliverToCoordinator(host)
    case 11, 12:
      hosts[host]?.work(at: now, &device, &dice)
      hosts[host]?.report()
    case 13, 29: crash(host)
    case 14, 15, 16: if hosts[host]?.session == nil { connect(host) }
    case 17: hangUp(host)
    case 18, 30, 31: confirmDead(hosts.keys.sorted().first { hosts[$0]?.isUp == false } ?? host)
    case 19: restart(from: (store, acknowledged))
    case 20: copies.append((store, acknowledged))
    case 21:
      guard let copy = copies.randomElement(using: &dice) else { return }
      hasForgotten = true
      restart(from: copy)
    case 22: deliverStraggler()
    case 23: adoptOrPurge()
    case 24: hosts[host]?.sendHeartbeat(at: now)
    case 25...28: pass(UInt64(roll(0..<6000)))
    default: calm()
    }
    check()
  }

  /// A second in which nothing breaks.
  private mutating func calm() {
    for name in hosts.keys.sorted() {
      let isReachable = hosts[name]?.isUp == true && hosts[name]?.isCutOff == false
      if hosts[name]?.session == nil, isReachable, roll(0..<3) == 0 { connect(name) }
      hosts[name]?.sendHeartbeat(at: now)
      if roll(0..<4) > 0 { exchange(name) }
    }
    pass(1000)
  }

  private mutating func create(_ name: String, for host: String) {
    var specification = ClaimSpecification()
    specification.deviceClass = roll(0..<2) == 0 ? "ethernet" : "sata"
    specification.host = host
    if specification.deviceClass == "sata" {
      if hasFileServers, roll(0..<2) == 0 { specification.source = "claim-\(roll(0..<7))" }
      if hasFileServers, roll(0..<2) == 0 {
        specification.consumer = Consumer { $0.kind = .fileServer(FileServerConsumer()) }
      }
      let size: UInt64? = roll(0..<3) == 0 ? nil : specification.source.isEmpty ? 1 << 28 : 1 << 26
      specification.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = size } }
    } else if roll(0..<2) == 0 {
      specification.lossPolicy = roll(0..<2) == 0 ? .selfFence : .keep
      specification.attributes = Attributes {
        $0.ethernet = EthernetAttributes { $0.macAddress = "02:00:00:00:00:0\(name.last!)" }
      }
      specification.consumer = Consumer { $0.interfaceName = name }
    }
    var request = CreateClaimRequest()
    request.name = name
    request.specification = specification
    let uid = "uid-\(nextID())"
    if case .success(.claim(let claim)) = ask({ .claimCreated($0, request, uid: uid) }) {
      acknowledged[name] = claim.uid
    }
  }

  mutating func delete(_ name: String, cascade: Bool) {
    let all = cascade ? claims(from: name) : [name]
    let request = DeleteClaimRequest {
      $0.name = name
      $0.cascade = cascade
    }
    guard case .success = ask({ .claimDeleted($0, request) }) else { return }
    for name in all { acknowledged[name] = nil }
  }

  private func claims(from name: String) -> [String] {
    [name] + (arbiter.claimsOfSource[name] ?? []).sorted().flatMap { claims(from: $0) }
  }

  private mutating func confirmDead(_ host: String) {
    guard hosts[host]?.isUp == false else { return }
    let request = ConfirmHostDeadRequest { $0.host = host }
    _ = ask { .hostConfirmedDead($0, request, reason: "confirmed by an operator") }
  }

  private mutating func adoptOrPurge() {
    guard let function = arbiter.listedOrphans.randomElement(using: &dice)?.status?.function?.id else { return }
    if roll(0..<2) == 0 {
      _ = ask { .orphanPurged($0, PurgeOrphanRequest { $0.function = function }) }
    } else {
      let request = AdoptOrphanRequest {
        $0.function = function
        $0.claim = "adopted-\(lastID)"
      }
      if case .success(.claim(let claim)) = ask({ .orphanAdopted($0, request) }) {
        acknowledged[claim.name] = claim.uid
      }
    }
  }

  private mutating func ask(_ event: (CallID) -> Event) -> Result<Answer, Refusal> {
    let call = CallID(nextID())
    send(event(call))
    return answers.removeValue(forKey: call) ?? .failure(Refusal(.aborted, "not answered"))
  }

  // MARK: Machines and messages

  mutating func connect(_ host: String) {
    let session = SessionID(nextID())
    if let straggling = hosts[host]?.toCoordinator { stragglers += straggling }
    hosts[host]?.connect(session, at: now)
  }

  private mutating func crash(_ host: String) {
    loseSession(host)
    hosts[host]?.crash()
  }

  /// The agent goes, its functions stay.
  private mutating func hangUp(_ host: String) {
    loseSession(host)
    hosts[host]?.endAgent()
    let isCutOff = roll(0..<2) == 0
    hosts[host]?.isCutOff = isCutOff
  }

  /// What is under way arrives late or never, and so does the end of the stream.
  private mutating func loseSession(_ host: String) {
    guard let session = hosts[host]?.session else { return }
    let underWay = (hosts[host]?.toCoordinator ?? []) + [.hostDisconnected(session)]
    switch roll(0..<3) {
    case 0: for event in underWay { send(event) }
    case 1: stragglers += underWay
    default: stragglers.append(.hostDisconnected(session))
    }
  }

  private mutating func deliverToHost(_ host: String) {
    guard let message = hosts[host]?.toHost.first else { return }
    hosts[host]?.toHost.removeFirst()
    hosts[host]?.take(message)
  }

  private mutating func deliverToCoordinator(_ host: String) {
    guard let event = hosts[host]?.toCoordinator.first else { return }
    hosts[host]?.toCoordinator.removeFirst()
    // A copy of it may come again, after its session.
    if roll(0..<8) == 0 { repeated.append(event) }
    send(event)
  }

  /// Within its session nothing arrives twice.
  private mutating func deliverStraggler() {
    if !stragglers.isEmpty { return send(stragglers.removeFirst()) }
    let isOver = { (event: Event) in event.session.map { arbiter.hostOfSession[$0] == nil } ?? false }
    guard let index = repeated.firstIndex(where: isOver) else { return }
    send(repeated.remove(at: index))
  }

  /// Everything under way arrives, the host works and says so.
  mutating func exchange(_ host: String) {
    guard hosts[host]?.session != nil else { return }
    for _ in 0..<3 {
      while hosts[host]?.toCoordinator.isEmpty == false { deliverToCoordinator(host) }
      while hosts[host]?.toHost.isEmpty == false { deliverToHost(host) }
      if hosts[host]?.workAll(at: now, &device) == true { check() }
      hosts[host]?.report()
      if hosts[host]?.toCoordinator.isEmpty == true { return }
    }
  }

  mutating func pass(_ milliseconds: UInt64) {
    now += milliseconds
    for name in hosts.keys.sorted() {
      hosts[name]?.fenceItself(at: now)
      guard let host = hosts[name], host.isUp, host.watchdogMilliseconds > 0, host.leaseEnds > 0 else { continue }
      if now >= host.leaseEnds + UInt64(host.watchdogMilliseconds) { crash(name) }
    }
    send(.timePassed)
  }

  // MARK: The coordinator

  mutating func restart(from copy: (store: [RecordKey: Record], acknowledged: [String: String])) {
    for name in hosts.keys.sorted() { hosts[name]?.endAgent() }
    (stragglers, repeated, late) = ([], [], [])
    // A coordinator that begins in the second in which another one began may draw its tokens again.
    now += 1000
    store = copy.store
    let functions = hosts.values.flatMap { $0.functions.values }
    for function in functions where store[RecordKey(.wantedFunction, function.key)] == nil {
      forgotten.insert(function.id)
    }
    acknowledged = copy.acknowledged
    unheardRoots = Set(hosts.values.filter { $0.endNodes.contains { $0.id == sharedID } }.map(\.name))
    do {
      let records = store.keys.sorted().compactMap { store[$0] }
      arbiter = try Arbiter(clusterID: Self.clusterID, version: "test", records: records, settings: settings)
      perform(arbiter.begin())
    } catch {
      require(false, "the store cannot be restored: \(error.message)")
    }
  }

  mutating func send(_ event: Event) {
    now += 1
    let given = unheardRoots.isEmpty ? [] : givenOfSharedDevice
    noteHeard(event)
    // In 2027.
    let instant = Instant(monotonicMilliseconds: now, wallMilliseconds: 1_800_000_000_000 + Int64(now))
    let speaker = event.session.flatMap { arbiter.hostOfSession[$0] }
    let decided = arbiter.handle(flaw?.heard(event) ?? event, at: instant)
    let effects = flaw?.said(decided) ?? decided
    perform(flaw == .storesLate ? late + effects.filter { !$0.stores } : effects)
    if flaw == .storesLate { late = effects.filter(\.stores) }
    let presumed = flaw?.presumed(after: event, of: speaker, effects, by: Array(hosts.values)) ?? []
    for event in presumed { send(event) }
    checkNothingIsGivenUnheard(given, event)
  }

  private mutating func perform(_ effects: [Effect]) {
    var fences: [(String, String)] = []
    for effect in effects {
      switch effect {
      case .save(let record): store[record.key] = record
      case .remove(let key): store[key] = nil
      case .send(let session, let message):
        guard let host = hosts.values.first(where: { $0.session == session })?.name else { continue }
        hosts[host]?.toHost.append(message)
      case .endSession(let session, _):
        guard let host = hosts.values.first(where: { $0.session == session })?.name else { continue }
        hosts[host]?.endAgent()
      case .answer(let call, let answer): answers[call] = .success(answer)
      case .refuse(let call, let refusal): answers[call] = .failure(refusal)
      case .claimChanged, .claimGone: continue
      case .fenceHost(let host, let bootID): fences.append((host, bootID))
      }
    }
    for (host, bootID) in fences { fence(host, bootID) }
  }

  private mutating func fence(_ host: String, _ bootID: String) {
    // The switch cuts the power of whatever runs there now, and then it is known that the run named is over.
    guard roll(0..<2) == 0 else {
      return send(.fenceFailed(host: host, bootID: bootID, message: "the power switch does not answer"))
    }
    crash(host)
    let request = ConfirmHostDeadRequest {
      $0.host = host
      $0.bootId = bootID
    }
    send(.hostConfirmedDead(nil, request, reason: "fenced"))
  }

  // MARK: What must never happen, seen at the devices

  mutating func check() {
    let up = hosts.values.filter(\.isUp)
    checkSharedDevice()
    checkSources()
    // What is cut off at the device is nobody's any more.
    let present = { (host: StormHost) in
      host.functions.values.filter {
        guard $0.assignment.source.isEmpty else { return $0.role != .consumer && reaches($0, from: host) }
        return $0.role != .consumer && ($0.assignment.endNode != sharedID || host.canWrite($0, self.device))
      }
    }
    let served = up.flatMap(present)
    checkDevices(hosts.values.flatMap(present))
    checkHolders(up: up, served: served)
    for (name, uid) in acknowledged {
      let claim = arbiter.claim(named: name)
      require(claim?.uid == uid, "\(name) was acknowledged and is lost")
    }
  }

  mutating func require(_ holds: Bool, _ message: @autoclosure () -> String) {
    if !holds { failures.append(message()) }
  }

  private mutating func checkDevices(_ present: [StormHost.Function]) {
    for node in hosts.values.flatMap({ $0.endNodes + $0.servedEndNodes }) {
      let functions = present.filter { $0.assignment.endNode == node.id }
      if let limit = node.capacity?.functions, limit > 0 {
        require(functions.count <= Int(limit), "\(node.id) gives more functions than it has")
      }
      if let limit = node.capacity?.sizeBytes, limit > 0 {
        let used = functions.reduce(0) { $0 + $1.assignment.sizeBytes }
        require(used <= limit, "\(node.id) gives more than its size")
      }
    }
    let inUse = present.filter(\.isInUse)
    require(Set(inUse.map(\.id)).count == inUse.count, "a function is in use twice")
    let addresses = inUse.filter { !forgotten.contains($0.id) }.compactMap(\.assignment.macAddress)
    require(Set(addresses).count == addresses.count, "two functions have one MAC address")
    let networks = inUse.compactMap { $0.assignment.mediation?.vni }.filter { $0 != 0 }
    require(Set(networks).count == networks.count, "two functions have one network")
  }

  /// Who can move data by a function: its server serves, and the consumer is connected.
  private mutating func checkHolders(up: [StormHost], served: [StormHost.Function]) {
    var usable: [String: Set<String>] = [:]
    var holders: [String: Set<String>] = [:]
    for function in served where function.isInUse {
      let id = function.id
      let consumers = up.filter { $0.functions.values.contains { $0.isConnected(to: function) } }.map(\.name)
      let users = function.role == .direct ? [function.assignment.host] : consumers
      guard !users.isEmpty else { continue }
      holders[id, default: []].formUnion(users.map { "\($0) for \(function.assignment.claimUid)" })
      guard !forgotten.contains(id) else { continue }
      usable[function.assignment.claimUid, default: []].insert(id)
    }
    for (id, who) in holders { require(who.count == 1, "\(id) is held by \(who.sorted())") }
    for (uid, ids) in usable { require(ids.count == 1, "claim \(uid) uses \(ids.sorted())") }
  }

  // MARK: Healing

  mutating func heal() {
    for name in hosts.keys.sorted() { connect(name) }
    settle()
  }

  mutating func settle() {
    var (quietRounds, rounds) = (0, 0)
    while quietRounds < 3 {
      rounds += 1
      guard rounds < 1000 else { return require(false, "a rack in which nothing breaks does not come to rest") }
      let before = arbiter.cluster.revision
      for name in hosts.keys.sorted() {
        if hosts[name]?.session == nil { connect(name) }
        hosts[name]?.sendHeartbeat(at: now)
        exchange(name)
      }
      pass(1000)
      quietRounds = arbiter.cluster.revision == before ? quietRounds + 1 : 0
    }
  }
}

extension Effect {
  fileprivate var stores: Bool {
    switch self {
    case .save, .remove: true
    default: false
    }
  }
}

extension Event {
  fileprivate var session: SessionID? {
    switch self {
    case .hostConnected(let session, _), .hostDisconnected(let session), .heartbeatReceived(let session, _),
      .inventoryReported(let session, _), .functionsReported(let session, _):
      session
    default: nil
    }
  }
}

/// SplitMix64: small, and the same everywhere.
struct Dice: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
