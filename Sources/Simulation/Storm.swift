import Arbitration
import Messages

/// A rack in which everything goes wrong, seen at the devices: hosts crash and come back, agents restart, messages are
/// late or lost with their session, duplicated across sessions, and the coordinator begins again from its store, or
/// from an older copy of it. Whoever says that a host is dead says the truth.
///
/// All of it follows from the seed. A harsh storm has in addition what `StormFaults` tells of; the others stay as they are, so that
/// seeds that once found something go on telling of it.
public struct Storm {
  let seed: UInt64
  /// Some claims are for a file server, and others from those.
  let hasFileServers: Bool
  let isHarsh: Bool
  /// Operators take functions away from claims.
  let isMaintained: Bool
  /// Some claims are more urgent than others.
  let isContended: Bool
  /// What is wrong with the arbiter, to see whether the storm finds it.
  let flaw: Flaw?
  var dice: Dice
  /// Of their own, so that what claims select disturbs nothing else that a seed stands for.
  var wishDice: Dice
  /// Of operators.
  var maintenanceDice: Dice
  /// Likewise, for what is planned.
  var planDice: Dice
  /// Likewise, for functions that are unhealthy.
  var healthDice: Dice
  /// Likewise, for how many functions cards are to make.
  var countDice: Dice
  /// Likewise, for hellos that come late.
  var helloDice: Dice
  var arbiter: Arbiter
  var hosts: [String: StormHost] = [:]
  static let hostNames = ["a", "b", "c", "d"]
  /// On the coordinator's clock.
  var now: UInt64 = 1_000_000
  var wallOffset: Int64 = 0 { didSet { furthestWallOffset = max(furthestWallOffset, wallOffset) } }
  private(set) var furthestWallOffset: Int64 = 0
  /// Hosts a, b and c see it.
  var device = SharedDevice()
  /// Those of its roots that have not said what they have since the coordinator began.
  var unheardRoots: Set<String> = []
  var lastID: UInt64 = 0

  // The coordinator's disk.
  var store: [RecordKey: Record] = [:]
  var audit = HoldingBook()
  var hasAuditChanged = false
  var copies: [StoreCopy] = []
  /// What is decided, and waits for the disk.
  var commits: [[Effect]] = []
  var isDiskSlow = false
  /// What a flaw has yet to store.
  var late: [Effect] = []

  // The network.
  /// Of sessions that are over; they may still arrive.
  var stragglers: [Event] = []
  var repeated: [Event] = []
  /// What hosts said first, last.
  var formerHellos: [AgentHello] = []

  // Callers.
  /// What they have asked for and not been answered.
  var requests: [CallID: StormRequest] = [:]
  /// What is to come of what was planned.
  var plans: [CallID: ClaimPlan] = [:]
  /// What was applied without a plan.
  var unplanned: Set<CallID> = []
  /// A plan that somebody made and has not carried out.
  var keptPlan: (request: ApplyClaimsRequest, plan: ClaimPlan)?
  /// The claims that were acknowledged and not deleted: name to uid.
  var acknowledged: [String: String] = [:]
  /// By uid: what was asked for.
  var asked: [String: ClaimSpecification] = [:]
  /// The uids of those that ended by themselves.
  var ended: Set<String> = []
  /// The groups that ended by themselves.
  var endedGroups: Set<String> = []

  // What is remembered for the checks.
  /// When what fits nowhere else may be taken from what is drained.
  var deadlines: [RecordKey: UInt64] = [:]
  /// The functions whose holders can have written something.
  var readyOnce: Set<String> = []
  /// The functions that were taken away from claims that stay.
  var evicted: Set<String> = []
  /// By uid: when a claim's last upgrade began.
  var upgraded: [String: UInt64] = [:]
  var upgradeCounts: [String: UInt32] = [:]
  /// The uids of claims that ask for upgrades.
  var asksForUpgrade: Set<String> = []
  /// For how many steps nothing breaks.
  var quietSteps = 0
  /// Whether hosts may say that they will never set up what members of groups were granted.
  var mayFailMembers = false
  /// An older copy of the store took the place of the present one.
  var hasForgotten = false
  /// Functions that a restored older copy knows nothing of: orphans, until somebody adopts or purges them.
  var forgotten: Set<String> = []
  var haveClaimsChanged = true
  /// What has happened that must never happen.
  var failures: [String] = []
  var coverage = Coverage()
  /// Of every effect so far, if they are compared with those of another run.
  var recorder: Hasher?
  static let failuresKept = 20

  init(
    seed: UInt64, hasFileServers: Bool = false, isHarsh: Bool = false, isMaintained: Bool = false,
    isContended: Bool = false, isRecorded: Bool = false, flaw: Flaw? = nil
  ) throws(Refusal) {
    self.seed = seed
    self.hasFileServers = hasFileServers
    self.isHarsh = isHarsh
    self.isMaintained = isMaintained
    self.isContended = isContended
    self.flaw = flaw
    dice = Dice(state: seed)
    wishDice = Dice(state: ~seed)
    maintenanceDice = Dice(state: seed &* 0x9e37_79b9_7f4a_7c15)
    planDice = Dice(state: seed ^ 0x706c_616e)
    healthDice = Dice(state: seed ^ 0x6865_616c_7468)
    countDice = Dice(state: seed ^ 0x636f_756e_74)
    helloDice = Dice(state: seed ^ 0x6865_6c6f)
    if isRecorded { recorder = Hasher() }
    arbiter = try Self.arbiter(records: [], flaw, isMaintained: isMaintained)
    let plugins = [ethernetPlugin(), sataPlugin()]
    for (number, name) in Self.hostNames.enumerated() {
      hosts[name] = StormHost(name: name, address: "10.0.0.\(number + 1)", plugins: plugins, endNodes: [])
    }
    hosts["a"]?.endNodes = [card("ethernet/a", functions: 3, queues: 4)]
    hosts["c"]?.endNodes = [disk("sata/c"), card("ethernet/c", on: "eth5", functions: 2)]
    hosts["d"]?.endNodes = [disk("sata/d", on: "sdd", hosts: 2)]
    for name in ["a", "b", "c"] { hosts[name]?.endNodes.append(sharedDisk(sharedID)) }
    if hasFileServers { for name in Self.hostNames { hosts[name]?.admitFileServers() } }
    if hasPlacements { for name in ["a", "b"] { hosts[name]?.labels = ["rack": "r1"] } }
    if countsFunctions { for name in Self.hostNames { hosts[name]?.makeCardsCount() } }
    hosts["b"]?.watchdogMilliseconds = 8000
    hosts["c"]?.watchdogMilliseconds = 4000
    if isHarsh { makeHarsh() }
    perform(arbiter.begin())
    for name in Self.hostNames { connect(name) }
    for name in Self.hostNames { exchange(name) }
    if isContended { makeTenants() }
  }

  /// Whether functions of cards are promised rates, and claims end by themselves. A quarter of the storms; those that tests name are of
  /// the others.
  var hasMinimumRates: Bool { seed % 4 == 2 }
  var hasTimes: Bool { hasMinimumRates }
  /// Whether claims say how near and how spread their functions are to be, and ask for upgrades. Of the same quarter.
  var hasPlacements: Bool { isHarsh && hasMinimumRates }

  typealias StoreCopy = (store: [RecordKey: Record], audit: HoldingBook, acknowledged: [String: String])

  mutating func roll(_ range: Range<Int>) -> Int { Int.random(in: range, using: &dice) }
  mutating func nextID() -> UInt64 {
    lastID += 1
    return lastID
  }

  // MARK: What happens

  mutating func act() {
    let host = Self.hostNames.randomElement(using: &dice) ?? "a"
    beginQuiet()
    mayFailMembers = hasGroups && quietSteps == 0
    defer { mayFailMembers = false }
    if quietSteps > 0 {
      passQuietStep()
    } else if isHarsh, roll(0..<3) == 0 {
      strike(host)
    } else {
      strikeGently(host)
    }
    if isMaintained {
      maintain()
      fallIll()
      setAnyFunctionCount()
    }
    if isContended { crowd() }
    if isHarsh { deliverFormerHello() }
    check()
  }

  private mutating func strikeGently(_ host: String) {
    let name = "claim-\(roll(0..<7))"
    let choice = roll(0..<60)
    switch choice {
    case 0, 1, 2, 3:
      if plansClaims, Int.random(in: 0..<2, using: &planDice) == 0 { planAndApply() } else { create(name, for: host) }
    case 4, 5: delete(name, cascade: hasFileServers && roll(0..<2) == 0)
    case 6, 7, 8: exchange(host)
    case 9: hosts[host]?.toHost.isEmpty == false ? deliverToHost(host) : exchange(host)
    case 10: deliverToCoordinator(host)
    case 11, 12:
      failMembers(on: host)
      let time = time(of: host)
      hosts[host]?.work(at: time, &device, &dice)
      hosts[host]?.report()
    case 13, 29: crash(host)
    case 14, 15, 16: if hosts[host]?.session == nil, isReachable(host) { connect(host) }
    case 17: hangUp(host)
    case 18, 30, 31: confirmDead(Self.hostNames.first { hosts[$0]?.isUp == false } ?? host)
    case 19:
      coverage.note(.coordinatorRestarted)
      restart(from: (store, audit, acknowledged))
    case 20: if mayForget { copies.append((store, audit, acknowledged)) }
    case 21: if mayForget, let copy = copies.randomElement(using: &dice) { restore(copy) }
    case 22: deliverStraggler()
    case 23: adoptOrPurge()
    case 24: sendHeartbeat(host)
    case 25...28: pass(UInt64(roll(0..<6000)))
    default: calm()
    }
  }

  /// Much is excused after an older copy was restored, so that most harsh storms, which are long, go without.
  private var mayForget: Bool { !isHarsh || seed % 4 == 0 }

  /// A second in which nothing breaks.
  mutating func calm() {
    for name in Self.hostNames {
      let isStanding = hosts[name]?.isUp == true && hosts[name]?.isCutOff == false && isReachable(name)
      if hosts[name]?.session == nil, isStanding, roll(0..<3) == 0 { connect(name) }
      sendHeartbeat(name)
      if roll(0..<4) > 0 { exchange(name) }
    }
    pass(1000)
  }

  // MARK: Healing

  /// Answers in how many rounds all came to rest.
  @discardableResult
  mutating func heal() -> Int {
    if isHarsh { endFaults() }
    for name in Self.hostNames {
      hosts[name]?.ailments = [:]
      connect(name)
    }
    return settle()
  }

  /// Until nothing changes any more, which takes a bounded number of rounds when nothing breaks. Answers how many.
  @discardableResult
  mutating func settle() -> Int {
    var (rounds, quietRounds) = (0, 0)
    while quietRounds < 3 {
      let before = arbiter.cluster.revision
      for name in Self.hostNames {
        if hosts[name]?.session == nil { connect(name) }
        sendHeartbeat(name)
        exchange(name)
      }
      pass(1000)
      quietRounds = arbiter.cluster.revision == before ? quietRounds + 1 : 0
      rounds += 1
      guard rounds < Self.roundsToRest else {
        require(false, "hosts and arbiter have not come to rest after \(rounds) seconds without faults")
        return rounds
      }
    }
    return rounds
  }

  static let roundsToRest = 200
}
