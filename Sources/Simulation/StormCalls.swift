import Arbitration
import Messages

/// What a caller waits for.
enum StormRequest {
  case creation
  /// Of these claims.
  case deletion([String])
  case other
}

/// Callers: tenants and operators.
extension Storm {
  mutating func create(_ name: String, for host: String) {
    if hasGroups, Int.random(in: 0..<4, using: &wishDice) == 0 { createGroup() }
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
      if isHarsh, size != nil, specification.source.isEmpty, roll(0..<3) == 0 {
        specification.attributes?.block?.minOperationsPerSecond = UInt64(roll(1..<5)) * 100
      }
    } else if roll(0..<2) == 0 {
      specification.lossPolicy = roll(0..<2) == 0 ? .selfFence : .keep
      specification.attributes = Attributes {
        $0.ethernet = EthernetAttributes { $0.macAddress = "02:00:00:00:00:0\(name.suffix(1))" }
      }
      specification.consumer = Consumer { $0.interfaceName = name }
    }
    if isHarsh { addWishes(to: &specification) }
    if isMaintained { addMaintenanceWishes(to: &specification) }
    if isContended { addContention(to: &specification) }
    var request = CreateClaimRequest()
    request.name = name
    request.specification = specification
    let uid = "uid-\(nextID())"
    if specification.upgrade { asksForUpgrade.insert(uid) }
    noteAsked(request, uid)
    ask(.creation) { .claimCreated($0, request, uid: uid) }
  }

  mutating func delete(_ name: String, cascade: Bool) {
    let request = DeleteClaimRequest {
      $0.name = name
      $0.cascade = cascade
      $0.wholeGroup = true
    }
    ask(.deletion(claims(goingWith: name, cascade: cascade))) { .claimDeleted($0, request) }
  }

  mutating func confirmDead(_ host: String, bootID: String = "") {
    guard hosts[host]?.isUp == false || !bootID.isEmpty else { return }
    coverage.note(bootID.isEmpty ? .hostSwitchedOff : .deathConfirmedLate)
    let request = ConfirmHostDeadRequest {
      $0.host = host
      $0.bootId = bootID
    }
    ask(.other) { .hostConfirmedDead($0, request, reason: "confirmed by an operator") }
  }

  mutating func adoptOrPurge() {
    guard let function = arbiter.listedOrphans.randomElement(using: &dice)?.status?.function?.id else { return }
    if roll(0..<2) == 0 {
      ask(.other) { .orphanPurged($0, PurgeOrphanRequest { $0.function = function }) }
    } else {
      let request = AdoptOrphanRequest {
        $0.function = function
        $0.claim = "adopted-\(lastID)"
      }
      ask(.creation) { .orphanAdopted($0, request) }
    }
  }

  mutating func ask(_ request: StormRequest, _ event: (CallID) -> Event) {
    let call = CallID(nextID())
    requests[call] = request
    send(event(call))
  }

  mutating func take(_ answer: Answer, to call: CallID) {
    if case .plan(let plan) = answer { takeApplied(plan, to: call) }
    switch (requests.removeValue(forKey: call), answer) {
    case (.creation, .claim(let claim)): acknowledge(claim)
    case (.deletion(let names), _): for name in names { acknowledged[name] = nil }
    default: return
    }
  }

  mutating func acknowledge(_ claim: Claim) {
    if !ended.contains(claim.uid) { acknowledged[claim.name] = claim.uid }
  }

  /// The claims of which nobody knows yet whether they are deleted.
  var beingDeleted: Set<String> {
    var all: Set<String> = []
    for case .deletion(let names) in requests.values { all.formUnion(names) }
    return all
  }
}
