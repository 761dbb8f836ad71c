import Arbitration
import Messages

/// Operators who keep end nodes and hosts free, and take functions away from claims. Their dice are their own, so that storms
/// without them stay as they are.
extension Storm {
  mutating func maintain() {
    guard rollMaintenance(0..<12) == 0 else { return }
    switch rollMaintenance(0..<10) {
    case 0, 1: evictAny()
    case 2: cordonAny()
    case 3: drainAny()
    case 4: taintAny()
    case 5: rebalanceAny()
    case 6, 7: untaint(anyTarget())
    default: uncordon(anyTarget())
    }
  }

  private mutating func rollMaintenance(_ range: Range<Int>) -> Int { Int.random(in: range, using: &maintenanceDice) }

  private static let endNodes = ["ethernet/a", "ethernet/c", "sata/c", "sata/d", sharedID]

  private mutating func anyTarget() -> MaintenanceTarget {
    let isHost = rollMaintenance(0..<2) == 0
    let name = (isHost ? Self.hostNames : Self.endNodes).randomElement(using: &maintenanceDice) ?? "a"
    return MaintenanceTarget { $0.kind = isHost ? .host(name) : .endNode(name) }
  }

  private mutating func cordonAny() {
    let target = anyTarget()
    let request = CordonRequest {
      $0.target = target
      $0.reason = "a fan is broken"
    }
    ask(.other) { .cordoned($0, request) }
  }

  private mutating func drainAny() {
    let target = anyTarget()
    let deadline: UInt64? = rollMaintenance(0..<3) == 0 ? nil : UInt64(rollMaintenance(0..<120_000))
    let word = rollMaintenance(0..<16)
    let request = DrainRequest {
      $0.target = target
      $0.deadlineMilliseconds = deadline
      $0.evict = word % 4 == 0
      $0.discardData = word / 4 % 2 == 0
      $0.force = word / 8 == 0
    }
    // Until the answer is there, either word may hold.
    if let deadline { deadlines[target.recordKey] = min(deadlines[target.recordKey] ?? .max, now + deadline) }
    ask(.other) { .drained($0, request) }
  }

  private mutating func uncordon(_ target: MaintenanceTarget) {
    ask(.other) { .uncordoned($0, UncordonRequest { $0.target = target }) }
  }

  private mutating func taintAny() {
    let target = anyTarget()
    let taint = Taint {
      $0.key = rollMaintenance(0..<2) == 0 ? "slow" : "shared"
      $0.value = rollMaintenance(0..<2) == 0 ? "disk" : ""
      $0.effect = rollMaintenance(0..<2) == 0 ? .noSchedule : .noExecute
    }
    let request = TaintRequest {
      $0.target = target
      $0.set = [taint]
    }
    ask(.other) { .tainted($0, request) }
  }

  private mutating func untaint(_ target: MaintenanceTarget) {
    for key in ["slow", "shared"] {
      let request = TaintRequest {
        $0.target = target
        $0.remove = [Taint { $0.key = key }]
      }
      ask(.other) { .tainted($0, request) }
    }
  }

  private mutating func rebalanceAny() {
    let request = RebalanceRequest {
      $0.deviceClass = rollMaintenance(0..<2) == 0 ? "ethernet" : "sata"
      $0.planOnly = rollMaintenance(0..<4) == 0
      $0.stop = rollMaintenance(0..<8) == 0
    }
    ask(.other) { .rebalanced($0, request) }
  }

  mutating func endMaintenance() {
    let targets =
      Self.endNodes.map { id in MaintenanceTarget { $0.kind = .endNode(id) } }
      + Self.hostNames.map { name in MaintenanceTarget { $0.kind = .host(name) } }
    for target in targets {
      uncordon(target)
      untaint(target)
    }
    require(!store.values.contains { $0.cordon != nil }, "what was uncordoned is cordoned")
    require(store.values.allSatisfy { $0.taints.isEmpty }, "taints that were removed are there")
  }

  /// End nodes whose health has changed too often are left alone for a while.
  mutating func outlastHolds() -> Int {
    for _ in 0..<20 {
      for name in Self.hostNames { sendHeartbeat(name) }
      for name in Self.hostNames { exchange(name) }
      pass(1000)
    }
    return settle()
  }

  mutating func addMaintenanceWishes(to specification: inout ClaimSpecification) {
    if rollMaintenance(0..<4) == 0 {
      specification.tolerations = [
        Toleration {
          $0.key = ["slow", "shared", ""].randomElement(using: &maintenanceDice) ?? ""
          $0.value = !$0.key.isEmpty && rollMaintenance(0..<3) == 0 ? "disk" : nil
          $0.effect = rollMaintenance(0..<3) == 0 ? .noSchedule : .unspecified
          $0.seconds = $0.effect == .unspecified && rollMaintenance(0..<3) == 0 ? 20 : nil
        }
      ]
    }
    switch rollMaintenance(0..<8) {
    case 0: specification.evictionPolicy = .never
    case 1: specification.evictionPolicy = .deadline
    case 2: specification.evictionPolicy = .drain
    case 3: specification.evictionPolicy = .anyTime
    default: break
    }
    addHealthWish(to: &specification)
  }

  private mutating func evictAny() {
    let name = "claim-\(rollMaintenance(0..<7))"
    let discardsData = rollMaintenance(0..<4) > 0
    let before = arbiter.claim(named: name)
    let request = EvictClaimRequest {
      $0.name = name
      $0.reason = "somebody needs it"
      $0.discardData = discardsData
    }
    ask(.other) { .claimEvicted($0, request) }
    checkEviction(of: before, discardsData)
  }

  // MARK: What must hold

  /// When drains that a store knows of can be over: what is left of their time begins with the coordinator that takes the store.
  func earliestDeadlines(of store: [RecordKey: Record]) -> [RecordKey: UInt64] {
    store.compactMapValues { record in record.cordon?.drain?.remainingMilliseconds.map { now + $0 } }
  }

  /// Also where there is a taint, whoever tolerates it.
  func isCordoned(host name: String) -> Bool { store[RecordKey(.host, name)]?.keepsNewOnesAway ?? false }

  /// Parts of a disk that several hosts see are given by the one that controls it, and which one that is, is not looked at here.
  func isCordoned(_ node: EndNode) -> Bool {
    (store[RecordKey(.endNode, node.id)]?.keepsNewOnesAway ?? false)
      || (node.id == sharedID && Self.hostNames.contains { isCordoned(host: $0) })
  }

  /// What it has on a disk is taken from nobody without a word, and a claim whose function is taken stays.
  private mutating func checkEviction(of before: Claim?, _ discardsData: Bool) {
    guard let before, let held = before.status?.assignment else { return }
    let after = arbiter.claim(named: before.name)
    require(after?.uid == before.uid, "\(before.name) was evicted, and is no more")
    guard before.status?.phase == .ready || before.status?.phase == .preparing else { return }
    let isKept = !discardsData && held.attributes?.block != nil && !held.isForFileServer
    let hasKept = after?.status?.phase == before.status?.phase && after?.status?.assignment?.function == held.function
    if isKept { require(hasKept, "\(before.name) lost what it has on a disk") }
    // Tokens of two end nodes may be the same number.
    let now = after?.status?.assignment
    let isGoing = after?.status?.phase == .reclaiming || now?.function != held.function || now?.token != held.token
    if discardsData { require(isGoing, "\(before.name) was evicted and keeps \(held.function)") }
  }

  /// Looks at a record before it is stored.
  mutating func checkMaintenance(_ record: Record) {
    if case .wantedFunction(let entry) = record { return checkNotGivenOfCordoned(entry) }
    if case .claim(let claim) = record { return checkHealth(of: claim) }
    guard let after = record.cordon?.drain, let before = store[record.key]?.cordon?.drain, !after.evict,
      after.evicted > before.evicted, let deadline = deadlines[record.key]
    else { return }
    let early = deadline - min(deadline, now)
    require(early == 0, "\(record.key.name) is drained, and claims were evicted \(early) ms early")
  }

  private mutating func checkNotGivenOfCordoned(_ entry: WantedFunction) {
    guard entry.role == .direct || entry.role == .server, !entry.released, !entry.abandoned,
      store[RecordKey(.wantedFunction, entry.recordName)] == nil, !entry.recordName.contains("#"),
      let assignment = entry.assignment,
      // What is adopted is there already, or was.
      !forgotten.contains(assignment.function),
      !hosts.values.contains(where: { host in host.functions.values.contains { $0.id == assignment.function } })
    else { return }
    if assignment.path == .direct, case .endNode(let node)? = store[RecordKey(.endNode, assignment.endNode)] {
      require(!node.isMakingFunctions, "\(assignment.function) was given while \(node.id) makes its functions anew")
    }
    let keys = [
      RecordKey(.endNode, assignment.endNode), RecordKey(.host, assignment.host),
      RecordKey(.host, assignment.controllingHost),
    ]
    let tolerations = arbiter.claim(named: assignment.claim)?.specification?.tolerations ?? []
    for key in keys {
      let words = "\(assignment.function) was given to \(assignment.claim), and \(key.name) is"
      require(store[key]?.cordon == nil, "\(words) cordoned")
      // A claim that has been deleted meanwhile tells nothing of what it tolerated.
      guard arbiter.claim(named: assignment.claim)?.uid == assignment.claimUid else { continue }
      for taint in store[key]?.taints ?? [] {
        require(tolerations.contains { $0.admits(taint) }, "\(words) tainted with \(taint.key)")
      }
    }
  }

  /// What was to leave has left, where nothing breaks any more.
  mutating func checkDrainsAtRest() {
    for record in store.values.sorted(by: { $0.key < $1.key }) {
      guard let drain = record.cordon?.drain, drain.evict || drain.remainingMilliseconds == 0 else { continue }
      for claim in arbiter.listedClaims {
        guard let assignment = claim.status?.assignment, claim.status?.phase == .ready else { continue }
        let isThere =
          record.key.kind == .host
          ? assignment.host == record.key.name || assignment.controllingHost == record.key.name
          : assignment.endNode == record.key.name
        let policy = claim.specification?.evictionPolicy ?? .unspecified
        // Of a source, what those have that are parts of it counts as well.
        guard isThere, assignment.attributes?.block == nil, policy != .never || drain.force else { continue }
        require(false, "\(claim.name) has \(assignment.function), and \(record.key.name) was drained")
      }
    }
  }
}

extension MaintenanceTarget {
  fileprivate var recordKey: RecordKey {
    switch kind {
    case .endNode(let id): RecordKey(.endNode, id)
    case .host(let name): RecordKey(.host, name)
    case nil: RecordKey(.cluster, "")
    }
  }
}

extension Record {
  fileprivate var cordon: Cordon? {
    switch self {
    case .endNode(let node): node.cordon
    case .host(let host): host.cordon
    default: nil
    }
  }

  fileprivate var taints: [Taint] {
    switch self {
    case .endNode(let node): node.taints
    case .host(let host): host.taints
    default: []
    }
  }

  fileprivate var keepsNewOnesAway: Bool { cordon != nil || !taints.isEmpty }
}

extension Toleration {
  /// Told a second time.
  fileprivate func admits(_ taint: Taint) -> Bool {
    guard key.isEmpty || key == taint.key, value.map({ $0 == taint.value }) ?? true else { return false }
    return taint.effect == .noExecute ? effect != .noSchedule && seconds == nil : effect != .noExecute
  }
}

extension Storm {
  /// By uid: what claims have that are not letting go.
  var heldFunctions: [String: String] {
    let holders = arbiter.listedClaims.filter { $0.status?.phase == .ready || $0.status?.phase == .preparing }
    return Dictionary(uniqueKeysWithValues: holders.map { ($0.uid, $0.status?.assignment?.function ?? "") })
  }

  /// Claims that stay and let go, or have let go already.
  mutating func noteEvicted(since held: [String: String]) {
    guard !held.isEmpty else { return }
    let now = heldFunctions
    for (uid, function) in held where now[uid] != function { evicted.insert(function) }
  }
}

extension Event {
  var mayEvict: Bool {
    switch self {
    case .claimEvicted, .drained, .tainted, .rebalanced, .timePassed: true
    default: false
    }
  }
}
