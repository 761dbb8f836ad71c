import Messages
import Testing

@testable import Arbitration
@testable import Simulation

/// A cluster round an arbiter: hosts that do what they are told, a store, and callers. It refuses what must never
/// happen, whatever the arbiter says.
struct World {
  var arbiter: Arbiter
  var hosts: [String: FakeHost] = [:]
  var store: [RecordKey: Record] = [:]
  var audit = HoldingBook()
  var answers: [CallID: Result<Answer, Refusal>] = [:]
  var ended: [SessionID: Refusal] = [:]
  var watched: [Effect] = []
  /// The hosts that were to be fenced, in order.
  var fenced: [String] = []
  /// Everything the arbiter ever answered, in order.
  var effects: [Effect] = []
  var milliseconds: UInt64 = 1_000_000
  /// 2023-11-14T22:13:20Z.
  var wallMillisecondsAtZero: Int64 = 1_700_000_000_000
  private var lastID: UInt64 = 0
  /// By function: the claim that it was granted to, for ever.
  private var holders: [String: String] = [:]
  /// A function is made for two claims, of stores that do not know of each other.
  var hasTwoHistories = false

  static let clusterID = "5f0c0e0a-0000-4000-8000-000000000001"

  init(_ settings: ArbiterSettings = ArbiterSettings()) {
    arbiter = try! Arbiter(clusterID: Self.clusterID, version: "test", records: [], settings: settings)
    perform(arbiter.begin())
  }

  var now: Instant {
    Instant(monotonicMilliseconds: milliseconds, wallMilliseconds: wallMillisecondsAtZero + Int64(milliseconds))
  }

  // MARK: Callers

  @discardableResult
  mutating func create(
    _ name: String, host: String = "b", deviceClass: String = "ethernet",
    _ change: (inout ClaimSpecification) -> Void = { _ in }
  ) -> Result<Claim, Refusal> {
    var specification = ClaimSpecification()
    specification.deviceClass = deviceClass
    specification.host = host
    change(&specification)
    return create(name, specification)
  }

  mutating func create(_ name: String, _ specification: ClaimSpecification) -> Result<Claim, Refusal> {
    var request = CreateClaimRequest()
    request.name = name
    request.specification = specification
    let uid = "uid-\(nextID())-\(name)"
    return ask { .claimCreated($0, request, uid: uid) }.map(\.claim)
  }

  @discardableResult
  mutating func delete(_ name: String, cascade: Bool = false) -> Result<Claim, Refusal> {
    let request = DeleteClaimRequest {
      $0.name = name
      $0.cascade = cascade
    }
    return ask { .claimDeleted($0, request) }.map(\.claim)
  }

  @discardableResult
  mutating func update(_ name: String, transmit: UInt64? = nil, receive: UInt64? = nil) -> Result<Claim, Refusal> {
    var request = UpdateClaimRatesRequest()
    request.name = name
    request.maxTransmitBitsPerSecond = transmit
    request.maxReceiveBitsPerSecond = receive
    return ask { .claimRatesUpdated($0, request) }.map(\.claim)
  }

  @discardableResult
  mutating func update(_ name: String, _ change: (inout UpdateClaimRatesRequest) -> Void) -> Result<Claim, Refusal> {
    var request = UpdateClaimRatesRequest()
    request.name = name
    change(&request)
    return ask { .claimRatesUpdated($0, request) }.map(\.claim)
  }

  @discardableResult
  mutating func extend(_ name: String, seconds: UInt32) -> Result<Claim, Refusal> {
    let request = ExtendClaimRequest {
      $0.name = name
      $0.timeToLiveSeconds = seconds
    }
    return ask { .claimExtended($0, request) }.map(\.claim)
  }

  @discardableResult
  mutating func confirmDead(_ host: String, bootID: String = "") -> Result<Host, Refusal> {
    let request = ConfirmHostDeadRequest {
      $0.host = host
      $0.bootId = bootID
    }
    return ask { .hostConfirmedDead($0, request, reason: "confirmed by an operator") }.map(\.host)
  }

  @discardableResult
  mutating func rescan(_ host: String) -> Result<Host, Refusal> {
    ask { .hostRescanned($0, RescanHostRequest { $0.host = host }) }.map(\.host)
  }

  @discardableResult
  mutating func forget(_ host: String) -> Result<Host, Refusal> {
    ask { .hostForgotten($0, ForgetHostRequest { $0.host = host }) }.map(\.host)
  }

  @discardableResult
  mutating func adopt(_ function: String, as claim: String = "") -> Result<Claim, Refusal> {
    let request = AdoptOrphanRequest {
      $0.function = function
      $0.claim = claim
    }
    return ask { .orphanAdopted($0, request) }.map(\.claim)
  }

  @discardableResult
  mutating func purge(_ function: String, on host: String = "") -> Result<[Orphan], Refusal> {
    let request = PurgeOrphanRequest {
      $0.function = function
      $0.host = host
    }
    return ask { .orphanPurged($0, request) }.map(\.orphans)
  }

  func plan(_ claims: [CreateClaimRequest], replace: Bool = false) throws -> ClaimPlan {
    var arbiter = arbiter
    return try arbiter.planClaims(request(claims, replace: replace), at: now)
  }

  @discardableResult
  mutating func apply(
    _ claims: [CreateClaimRequest], replace: Bool = false, planRevision: String = ""
  ) -> Result<ClaimPlan, Refusal> {
    var request = request(claims, replace: replace)
    request.planRevision = planRevision
    let uids = claims.map { "uid-\(nextID())-\($0.name)" }
    return ask { .claimsApplied($0, request, uids: uids) }.map(\.plan)
  }

  private func request(_ claims: [CreateClaimRequest], replace: Bool) -> ApplyClaimsRequest {
    ApplyClaimsRequest {
      $0.claims = claims
      $0.replace = replace
    }
  }

  mutating func ask(_ event: (CallID) -> Event) -> Result<Answer, Refusal> {
    let call = CallID(nextID())
    send(event(call))
    guard let answer = answers[call] else {
      Issue.record("call \(call) was not answered")
      return .failure(Refusal(.notFound, "not answered"))
    }
    return answer
  }

  func claim(_ name: String) -> Claim? { arbiter.claim(named: name) }
  func phase(_ name: String) -> ClaimPhase? { claim(name)?.status?.phase }

  // MARK: Hosts

  mutating func add(_ host: FakeHost) {
    hosts[host.name] = host
    connect(host.name)
  }

  /// A session from its hello to its first reports, with all that the host can do at once.
  /// - Parameter andReports: false: it does not say yet which functions it has.
  mutating func connect(_ name: String, andReports: Bool = true) {
    guard let host = hosts[name] else { return }
    let session = SessionID(nextID())
    hosts[name]?.session = session
    hosts[name]?.wanted = [:]
    send(.hostConnected(session, host.hello))
    send(.inventoryReported(session, host.inventory))
    if andReports { report(name, complete: true) }
  }

  mutating func disconnect(_ name: String) {
    guard let session = hosts[name]?.session else { return }
    hosts[name]?.session = nil
    send(.hostDisconnected(session))
  }

  /// The power is off. Kernel objects are gone with the boot; nobody tells the coordinator but the end of the stream.
  mutating func crash(_ name: String) {
    hosts[name]?.functions = [:]
    hosts[name]?.answered = [:]
    hosts[name]?.bootId += "'"
    disconnect(name)
  }

  /// The agent comes back and finds nothing.
  mutating func reboot(_ name: String) {
    crash(name)
    connect(name)
  }

  mutating func reportInventory(_ name: String) {
    guard let host = hosts[name], let session = host.session else { return }
    send(.inventoryReported(session, host.inventory))
  }

  /// What a host observes now.
  mutating func report(_ name: String, complete: Bool = false) {
    guard let host = hosts[name], let session = host.session else { return }
    send(.functionsReported(session, host.report(complete: complete)))
  }

  /// The host's plugin does not know what has become of any function, and says why.
  mutating func cannotLookAtFunctions(of name: String) {
    for id in (hosts[name]?.answered ?? [:]).keys {
      hosts[name]?.answered[id]?.phase = .unspecified
      hosts[name]?.answered[id]?.error = FunctionError {
        $0.step = "observe"
        $0.message = "its disk is gone"
      }
    }
    report(name)
  }

  /// Hosts work and report until nothing changes any more.
  mutating func settle() {
    for _ in 0..<20 {
      var hasWorked = false
      for name in hosts.keys.sorted() where hosts[name]?.session != nil && hosts[name]?.isStuck == false {
        for endNode in hosts[name]?.takeControls() ?? [] {
          cutOffParts(of: endNode, but: name)
          reportInventory(name)
          hasWorked = true
        }
        if hosts[name]?.makeFunctions() ?? false {
          reportInventory(name)
          hasWorked = true
        }
        let served = hosts[name]?.servedEndNodes
        guard hosts[name]?.work() ?? false else { continue }
        fence(by: name)
        cutOffParts()
        checkDevices()
        hasWorked = true
        if hosts[name]?.servedEndNodes != served { reportInventory(name) }
        report(name)
      }
      if !hasWorked { return }
    }
    Issue.record("the hosts and the arbiter do not come to rest")
  }

  /// What is served from a function that can be reached no more.
  private mutating func cutOffParts() {
    let present = hosts.values.flatMap { $0.functions.values }.filter {
      $0.role != .consumer && !$0.isCut && !$0.isFenced
    }
    let sources = Set(present.compactMap { $0.assignment?.function })
    for function in present where function.assignment?.source.isEmpty == false && !sources.contains(function.endNode) {
      for name in hosts.keys { hosts[name]?.cutOffParts(of: function.endNode) }
    }
  }

  private mutating func cutOffParts(of endNode: String, but controller: String) {
    for name in hosts.keys where name != controller {
      for (place, function) in hosts[name]?.functions ?? [:]
      where function.endNode == endNode && function.role != .consumer && function.assignment?.path != .direct {
        hosts[name]?.functions[place]?.isFenced = true
      }
    }
  }

  /// The device cuts off whom a fencer names.
  private mutating func fence(by fencer: String) {
    for entry in hosts[fencer]?.wanted.values ?? [:].values where entry.role == .fencer {
      for name in hosts.keys where name != fencer {
        for (place, function) in hosts[name]?.functions ?? [:] where function.assignment?.function == entry.functionID {
          hosts[name]?.functions[place]?.isFenced = true
        }
      }
    }
  }

  /// Time passes for hosts that are there.
  mutating func pass(milliseconds: UInt64) {
    let end = self.milliseconds + milliseconds
    while self.milliseconds < end {
      for name in hosts.keys.sorted() {
        guard let session = hosts[name]?.session else { continue }
        let watchdog = hosts[name]?.watchdogMilliseconds ?? 0
        send(.heartbeatReceived(session, Heartbeat { $0.watchdogMilliseconds = watchdog }))
      }
      wait(milliseconds: min(2000, end - min(end, self.milliseconds)))
    }
  }

  // MARK: The shell

  mutating func send(_ event: Event) {
    milliseconds += 1
    perform(arbiter.handle(event, at: now))
    checkSearch()
  }

  /// What finds an end node without a look at the others finds the same as a look at all.
  private func checkSearch() {
    // Not the arbiter itself, so that it is not known of that somebody looked.
    var arbiter = arbiter
    for var specification in arbiter.listedClaims.prefix(4).compactMap(\.specification) {
      for paths in [specification.allowedPaths, [.mediated]] {
        specification.allowedPaths = paths
        let isBest = arbiter.findsTheBest(for: specification)
        #expect(isBest, "\(specification)")
      }
    }
  }

  /// Time passes without any heartbeat.
  mutating func wait(milliseconds: UInt64) {
    self.milliseconds += milliseconds
    send(.timePassed)
  }

  /// The coordinator's process ends and another one begins on the same store; every session is lost.
  mutating func restart() {
    for name in hosts.keys { hosts[name]?.session = nil }
    arbiter = try! Arbiter(
      clusterID: Self.clusterID, version: "test", records: Array(store.values), settings: arbiter.settings)
    perform(arbiter.begin())
  }

  private mutating func perform(_ effects: [Effect]) {
    self.effects += effects
    for effect in effects {
      switch effect {
      case .save(let record):
        checkTokens(of: record)
        store[record.key] = record
      case .remove(let key): store[key] = nil
      case .audit(let holding): audit.take(holding)
      case .send(let session, let message): deliver(message, to: session)
      case .endSession(let session, let refusal): ended[session] = refusal
      case .answer(let call, let answer): answers[call] = .success(answer)
      case .refuse(let call, let refusal): answers[call] = .failure(refusal)
      case .claimChanged, .claimGone: watched.append(effect)
      case .fenceHost(let host, _): fenced.append(host)
      }
    }
  }

  private mutating func deliver(_ message: CoordinatorMessage, to session: SessionID) {
    guard let name = hosts.values.first(where: { $0.session == session })?.name else { return }
    guard case .wanted(let wanted) = message.kind else { return }
    for entry in wanted.functions { checkEntry(entry) }
    hosts[name]?.take(wanted)
  }

  private mutating func nextID() -> UInt64 {
    lastID += 1
    return lastID
  }

  // MARK: What must never happen

  private mutating func checkEntry(_ entry: WantedFunction) {
    guard let assignment = entry.assignment, let token = assignment.token?.value else {
      Issue.record("an entry without an assignment or token: \(entry)")
      return
    }
    let made = UInt64(assignment.function.dropFirst(assignment.endNode.utf8.count + 1)) ?? 0
    #expect(assignment.function == "\(assignment.endNode)/\(made)" && made <= token)
    #expect(store[RecordKey(.wantedFunction, entry.recordName)] == .wantedFunction(entry), "sent before it was saved")
    if !hasTwoHistories { checkHolder(of: assignment) }
    // An abandoned entry hands nothing on: the order of its ends does not matter.
    if entry.role == .consumer, !entry.abandoned {
      let server = hosts[assignment.controllingHost]?.functions.values.first {
        $0.assignment?.function == assignment.function && $0.role == .server
          && $0.assignment?.mediation?.exportName == assignment.mediation?.exportName
      }
      if entry.released {
        let isCut = server.map { $0.isCut || $0.isFenced } ?? true
        #expect(isCut, "the consumer is told to let go before the server was cut")
      }
    }
  }

  private mutating func checkHolder(of assignment: Assignment) {
    let presence = hosts.values.compactMap { $0.functions[assignment.function] }
    for function in presence {
      #expect(function.claimUid == assignment.claimUid, "\(assignment.function) has a second holder")
    }
    #expect(holders[assignment.function] ?? assignment.claimUid == assignment.claimUid, "a function changed hands")
    holders[assignment.function] = assignment.claimUid
  }

  /// A token that was drawn is never drawn again.
  private func checkTokens(of record: Record) {
    guard case .endNode(let node) = record, case .endNode(let before)? = store[record.key] else { return }
    #expect((node.highestToken?.value ?? 0) >= (before.highestToken?.value ?? 0), "tokens only rise")
  }

  /// No device may ever hold more than it has, nor two functions with one address or one network.
  private func checkDevices() {
    let present = hosts.values.flatMap { host in host.functions.values.filter { $0.role != .consumer && !$0.isFenced } }
    for node in hosts.values.flatMap({ $0.endNodes + $0.servedEndNodes }) {
      let functions = present.filter { $0.endNode == node.id }
      if let limit = node.capacity?.functions, limit > 0 { #expect(functions.count <= Int(limit)) }
      if let limit = node.capacity?.sizeBytes, limit > 0 {
        #expect(functions.reduce(0) { $0 + $1.sizeBytes } <= limit)
        let extents = functions.compactMap(\.extent).sorted { $0.offsetBytes < $1.offsetBytes }
        for (one, next) in zip(extents, extents.dropFirst()) {
          #expect(!one.overlaps(next), "two functions lie in one place")
        }
      }
    }
    let addresses = present.compactMap(\.macAddress)
    #expect(Set(addresses).count == addresses.count, "two functions have one MAC address")
    let networks = present.map(\.vni).filter { $0 != 0 }
    #expect(Set(networks).count == networks.count, "two functions have one VNI")
  }
}

extension Answer {
  var claim: Claim { if case .claim(let claim) = self { claim } else { Claim() } }
  var host: Host { if case .host(let host) = self { host } else { Host() } }
  var plan: ClaimPlan { if case .plan(let plan) = self { plan } else { ClaimPlan() } }
  var orphans: [Orphan] { if case .orphans(let orphans) = self { orphans } else { [] } }
}

// MARK: Maintenance

extension World {
  @discardableResult
  mutating func cordon(_ target: MaintenanceTarget, reason: String = "a fan is broken") -> Result<
    MaintenanceAnswer, Refusal
  > {
    let request = CordonRequest {
      $0.target = target
      $0.reason = reason
    }
    return ask { .cordoned($0, request) }.map(\.maintenance)
  }

  @discardableResult
  mutating func uncordon(_ target: MaintenanceTarget) -> Result<MaintenanceAnswer, Refusal> {
    ask { .uncordoned($0, UncordonRequest { $0.target = target }) }.map(\.maintenance)
  }

  @discardableResult
  mutating func drain(
    _ target: MaintenanceTarget, _ change: (inout DrainRequest) -> Void = { _ in }
  ) -> Result<MaintenanceAnswer, Refusal> {
    var request = DrainRequest()
    request.target = target
    request.reason = "firmware"
    change(&request)
    return ask { .drained($0, request) }.map(\.maintenance)
  }

  func cordon(of name: String) -> Cordon? {
    arbiter.listedEndNodes.first { $0.name == name }?.cordon ?? arbiter.host(named: name)?.cordon
  }

  func reasons(_ claim: String) -> [String] { self.claim(claim)?.status?.pending.map(\.message) ?? [] }
  func endNode(_ claim: String) -> String? { self.claim(claim)?.status?.assignment?.endNode }
}

extension MaintenanceTarget {
  static func node(_ name: String) -> MaintenanceTarget { MaintenanceTarget { $0.kind = .endNode(name) } }
  static func machine(_ name: String) -> MaintenanceTarget { MaintenanceTarget { $0.kind = .host(name) } }
}

extension Answer {
  var maintenance: MaintenanceAnswer {
    if case .maintenance(let answer) = self { answer } else { MaintenanceAnswer() }
  }
}
