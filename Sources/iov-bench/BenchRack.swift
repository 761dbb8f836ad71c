import Arbitration
import ClaimStore
import Services

/// A cluster whose agents do at once what they are told: every host has one card of the same size. All that an agent or a
/// caller says goes over the wire's bytes first, so that it shares no memory with what it answers, as in a coordinator.
struct BenchRack {
  private(set) var arbiter: Arbiter
  let hosts: Int
  let functionsEach: Int
  /// The number of the claim in every place that is taken.
  private(set) var held: [Int] = []
  private var claimsMade = 0
  private var milliseconds: UInt64 = 1_000_000
  /// Hosts that are here for the second time.
  private var returned: Set<Int> = []
  /// Whether every other claim is served by another host than the one that it is for.
  private let isMediating: Bool
  /// Of its hosts, for what is mediated.
  private let hasAddresses: Bool
  /// What is to be stored and has not been taken yet; nil: it is not kept.
  private var changes: [StoreChange]?
  /// The names of the claims that were granted something since somebody asked last.
  private var granted: [String] = []

  var functions: Int { hosts * functionsEach }

  /// - Parameter keepsChanges: for `takeChanges`.
  init(
    hosts: Int, functions: Int, isMediating: Bool = true, hasAddresses: Bool = true, keepsChanges: Bool = false
  ) throws {
    self.hosts = hosts
    self.isMediating = isMediating
    self.hasAddresses = hasAddresses
    changes = keepsChanges ? [] : nil
    functionsEach = functions / hosts
    arbiter = try Arbiter(clusterID: "5f0c0e0a-0000-4000-8000-000000000001", version: "bench", records: [])
    _ = arbiter.begin()
  }

  // MARK: Hosts

  mutating func join() throws {
    for number in 0..<hosts {
      for kind in introduction(number) { try say(kind, in: session(number)) }
    }
  }

  /// What a host says when it comes.
  private func introduction(_ number: Int) -> [AgentMessage.Kind] {
    [
      .hello(AgentHello { $0.host = host(number) }),
      .inventory(
        InventoryReport {
          $0.endNodes = [card(number)]
          $0.plugins = [plugin]
        }),
      .functions(
        FunctionReport {
          $0.bootId = boot(number)
          $0.complete = true
        }),
    ]
  }

  private func session(_ number: Int) -> SessionID {
    SessionID(UInt64((returned.contains(number) ? hosts : 0) + number + 1))
  }

  private func number(of session: SessionID) -> Int { Int(session.value - 1) % hosts }

  private func name(_ number: Int) -> String { "host-\(number)" }
  private func boot(_ number: Int) -> String { "boot-of-host-\(number)" }

  private func host(_ number: Int) -> Host {
    Host {
      $0.name = name(number)
      $0.instanceId = "instance-of-host-\(number)"
      $0.bootId = boot(number)
      if hasAddresses { $0.mediationAddress = "10.\(number >> 16).\(number >> 8 & 0xFF).\(number & 0xFF)" }
      $0.mediationMtu = 9000
    }
  }

  private var plugin: Plugin {
    Plugin {
      $0.name = "ethernet"
      $0.deviceClass = "ethernet"
      $0.state = .serving
      $0.mediatorsOffered = ["vxlan"]
      $0.mediatorsAccepted = ["vxlan"]
    }
  }

  private func card(_ number: Int) -> EndNode {
    EndNode {
      $0.id = "ethernet/card-\(number)"
      $0.deviceClass = "ethernet"
      $0.roots = [Root { $0.localName = "eth1" }]
      $0.capacity = Capacity { $0.functions = UInt32(functionsEach) }
      $0.capabilities = Capabilities {
        $0.paths = [.directSoftware, .mediated]
        $0.mediators = ["vxlan"]
        $0.consumers = ["host", "network_namespace"]
        $0.attributes = ["ethernet.mac_address", "ethernet.mtu"]
        $0.maximumMtu = 9000
      }
      $0.health = Health { $0.state = .healthy }
    }
  }

  // MARK: Claims

  func request(_ number: Int) throws -> CreateClaimRequest {
    let request = CreateClaimRequest {
      $0.name = "claim-\(number)"
      $0.specification = ClaimSpecification {
        $0.deviceClass = "ethernet"
        $0.host = name((number / 2) % hosts)
        if isMediating, number % 2 == 1 { $0.allowedPaths = [.mediated] }
      }
    }
    return try CreateClaimRequest(decoding: request.encoded())
  }

  /// Creates a claim, and answers its name with all that follows from it.
  mutating func grant() throws -> (name: String, effects: [Effect]) {
    let creation = try prepare()
    let effects = decide(creation)
    try hold(creation, effects)
    return (creation.request.name, effects)
  }

  /// The creation of one more claim, as a caller has sent it.
  mutating func prepare() throws -> Creation {
    defer { claimsMade += 1 }
    return Creation(
      number: claimsMade, request: try request(claimsMade),
      uid: "00000000-0000-4000-8000-" + String(100_000_000_000 + claimsMade))
  }

  /// What the core does about it, and nothing else.
  mutating func decide(_ creation: Creation) -> [Effect] {
    take(.claimCreated(CallID(UInt64(creation.number)), creation.request, uid: creation.uid))
  }

  /// Notes that a claim has what it asked for.
  mutating func hold(_ creation: Creation, _ effects: [Effect]) throws {
    guard arbiter.claim(named: creation.request.name)?.status?.assignment != nil else {
      throw RPCError(.resourceExhausted, "claim '\(creation.request.name)' was granted nothing: \(effects)")
    }
    held.append(creation.number)
  }

  /// Creates a claim that may go to any host, or a group of such claims. Answers how long it took.
  mutating func grantForAnyHost(members: Int = 1) throws -> UInt64 {
    let specification = ClaimSpecification {
      $0.deviceClass = "ethernet"
      $0.hostSelector = "name != 'nobody'"
      if members > 1 { $0.group = "group-\(claimsMade)" }
    }
    let claims = (0..<members).map { member in
      CreateClaimRequest {
        $0.name = "any-\(claimsMade)-\(member)"
        $0.specification = specification
      }
    }
    claimsMade += 1
    let uids = claims.map { "uid-of-\($0.name)" }
    let begun = monotonicNanoseconds()
    let effects =
      members > 1
      ? take(.claimsApplied(CallID(0), ApplyClaimsRequest { $0.claims = claims }, uids: uids))
      : take(.claimCreated(CallID(0), claims[0], uid: uids[0]))
    let nanoseconds = monotonicNanoseconds() - begun
    guard claims.allSatisfy({ arbiter.claim(named: $0.name)?.status?.assignment != nil }) else {
      throw RPCError(.resourceExhausted, "claim '\(claims[0].name)' was granted nothing: \(effects)")
    }
    try obey(effects)
    return nanoseconds
  }

  struct Creation {
    var number: Int
    var request: CreateClaimRequest
    var uid: String
  }

  /// Deletes one of the claims that are held; its hosts let go of what it had.
  mutating func release(place: Int) throws {
    held.swapAt(place, held.count - 1)
    let number = held.removeLast()
    try obey(delete(number))
    guard arbiter.claim(named: "claim-\(number)") == nil else {
      throw RPCError(.internalError, "claim \(number) was released and is not gone")
    }
  }

  /// Deletes so many of the claims that are held longest, and answers what their hosts are told.
  mutating func releaseOldest(_ count: Int) -> [[Effect]] {
    defer { held.removeFirst(count) }
    return held.prefix(count).map { delete($0) }
  }

  private mutating func delete(_ number: Int) -> [Effect] {
    take(.claimDeleted(CallID(0), DeleteClaimRequest { $0.name = "claim-\(number)" }))
  }

  mutating func makeTenant(_ name: String, weight: UInt32) {
    _ = take(
      .tenantCreated(
        CallID(0),
        CreateTenantRequest {
          $0.name = name
          $0.weight = weight
        }))
  }

  /// Creates a claim that nothing is free for. Answers how much of the processor it took.
  mutating func wait(_ number: Int, tenant: String) throws -> UInt64 {
    var request = try request(number)
    request.name = "waiting-\(number)"
    request.specification?.tenant = tenant
    let uid = "00000000-0000-4000-8001-" + String(100_000_000_000 + number)
    let begun = threadNanoseconds()
    _ = take(.claimCreated(CallID(UInt64(number)), request, uid: uid))
    let nanoseconds = threadNanoseconds() - begun
    guard arbiter.claim(named: request.name)?.status?.phase == .pending else {
      throw RPCError(.internalError, "claim '\(request.name)' does not wait")
    }
    return nanoseconds
  }

  /// Deletes a claim, whose hosts let go, so that one that waits is granted what it had, and its hosts set that up. Answers its
  /// name, and how much of the processor all of it took.
  mutating func passOn(_ name: String) throws -> (name: String, nanoseconds: UInt64) {
    granted = []
    let begun = threadNanoseconds()
    try obey(take(.claimDeleted(CallID(0), DeleteClaimRequest { $0.name = name })))
    let nanoseconds = threadNanoseconds() - begun
    guard let next = granted.first else {
      throw RPCError(.internalError, "claim '\(name)' was released, and nobody has what it had")
    }
    return (next, nanoseconds)
  }

  // MARK: What nothing comes of

  /// Creates a claim for any host that none can have. Answers how much of the processor it took.
  mutating func waitForAnyHost(_ name: String, priority: Int32 = 0) throws -> UInt64 {
    try waitInVain(name, priority) { $0.hostSelector = "name != 'nobody'" }
  }

  /// Creates a claim for a host that can have nothing by the path that it asks for, whoever lets go.
  mutating func waitUrgently(_ name: String, host: Int) throws -> UInt64 {
    let host = self.name(host)
    return try waitInVain(name, 10) { $0.host = host }
  }

  private mutating func waitInVain(
    _ name: String, _ priority: Int32, _ change: (inout ClaimSpecification) -> Void
  ) throws -> UInt64 {
    let request = CreateClaimRequest {
      $0.name = name
      $0.specification = ClaimSpecification {
        $0.deviceClass = "ethernet"
        $0.allowedPaths = [.mediated]
        $0.priority = priority
        change(&$0)
      }
    }
    let nanoseconds = processorTime(of: .claimCreated(CallID(0), request, uid: "uid-of-\(name)"))
    guard arbiter.claim(named: name)?.status?.phase == .pending else {
      throw RPCError(.internalError, "claim '\(name)' does not wait")
    }
    return nanoseconds
  }

  mutating func delete(_ name: String) { _ = take(.claimDeleted(CallID(0), DeleteClaimRequest { $0.name = name })) }

  /// A host leaves and, for the first time, comes back. Answers how much of the processor the longest of those events took.
  mutating func comeBack(_ number: Int) throws -> UInt64 {
    var longest = processorTime(of: .hostDisconnected(session(number)))
    returned.insert(number)
    for kind in introduction(number) {
      let begun = threadNanoseconds()
      try say(kind, in: session(number))
      longest = max(longest, threadNanoseconds() - begun)
    }
    return longest
  }

  mutating func drain(_ number: Int) -> UInt64 {
    let target = name(number)
    return processorTime(
      of: .drained(
        CallID(0),
        DrainRequest {
          $0.target = MaintenanceTarget { $0.kind = .host(target) }
          $0.force = true
        }))
  }

  mutating func planRebalance() -> UInt64 {
    processorTime(
      of: .rebalanced(
        CallID(0),
        RebalanceRequest {
          $0.deviceClass = "ethernet"
          $0.planOnly = true
        }))
  }

  private mutating func processorTime(of event: Event) -> UInt64 {
    let begun = threadNanoseconds()
    _ = take(event)
    return threadNanoseconds() - begun
  }

  /// A moment in which nothing happens, and no lease ends. Answers how much of the processor it took.
  mutating func passTime() -> UInt64 {
    for number in 0..<hosts { _ = take(.heartbeatReceived(session(number), Heartbeat())) }
    let begun = threadNanoseconds()
    _ = take(.timePassed)
    return threadNanoseconds() - begun
  }

  func claim(_ number: Int) -> String { "claim-\(number)" }

  /// Has the hosts do what they are told, until nothing is left to be done.
  mutating func obey(_ effects: [Effect]) throws {
    var orders = effects
    while !orders.isEmpty {
      var answers: [(SessionID, FunctionReport)] = []
      for case .send(let session, let message) in orders {
        guard case .wanted(let wanted) = message.kind, !wanted.functions.isEmpty else { continue }
        answers.append((session, answer(to: wanted, boot: boot(number(of: session)))))
      }
      orders = []
      for (session, report) in answers { orders += try say(.functions(report), in: session) }
    }
  }

  private func answer(to wanted: WantedState, boot: String) -> FunctionReport {
    FunctionReport {
      $0.epoch = wanted.epoch
      $0.revision = wanted.revision
      $0.bootId = boot
      $0.functions = wanted.functions.map(status)
    }
  }

  private func status(of entry: WantedFunction) -> FunctionStatus {
    let assignment = entry.assignment ?? Assignment()
    return FunctionStatus {
      $0.role = entry.role
      $0.revision = entry.revision
      $0.phase = entry.released ? .absent : .inUse
      $0.function = VirtualFunction {
        $0.id = assignment.function
        $0.endNode = assignment.endNode
        $0.deviceClass = assignment.deviceClass
        $0.token = assignment.token
        $0.claimUid = assignment.claimUid
      }
      guard !entry.released, entry.role != .server else { return }
      $0.arrival = Arrival {
        $0.interfaceName = "iov\(assignment.token?.value ?? 0)"
        $0.enforced = assignment.attributes
      }
    }
  }

  // MARK: Events

  @discardableResult
  private mutating func say(_ kind: AgentMessage.Kind, in session: SessionID) throws -> [Effect] {
    let message = try AgentMessage(decoding: AgentMessage { $0.kind = kind }.encoded())
    switch message.kind {
    case .hello(let hello): return take(.hostConnected(session, hello))
    case .inventory(let report): return take(.inventoryReported(session, report))
    case .functions(let report): return take(.functionsReported(session, report))
    default: return []
    }
  }

  /// With what the coordinator does under the arbiter's lock: the changes of the store are queued.
  private mutating func take(_ event: Event) -> [Effect] {
    milliseconds += 1
    let now = Instant(monotonicMilliseconds: milliseconds, wallMilliseconds: 1_800_000_000_000 + Int64(milliseconds))
    let effects = arbiter.handle(event, at: now)
    for case .claimChanged(let claim) in effects where claim.status?.phase == .preparing { granted.append(claim.name) }
    let changes = effects.compactMap(StoreChange.init)
    self.changes?.append(contentsOf: changes)
    return effects
  }

  /// What is to be stored since it was last taken.
  mutating func takeChanges() -> [StoreChange] {
    defer { changes = changes.map { _ in [] } }
    return changes ?? []
  }
}

extension StoreChange {
  fileprivate init?(_ effect: Effect) {
    switch effect {
    case .save(let record): self = FullStore.change(record)
    case .remove(let key): self = .remove(StoreKey(kind: key.kind.rawValue, name: key.name))
    case .audit(let holding): self = .audit(holding)
    default: return nil
    }
  }
}
