import Messages

/// Decides who gets which function of which end node, on which path, until when.
///
/// A deterministic state machine: the same events make the same effects. It has no clock, no dice, no logger and no
/// socket; see DESIGN for the rules of safety that it keeps. The shell persists before it sends.
///
/// Three kinds of wrong are told apart: a caller's or an agent's fault is refused with a message; what comes late or
/// twice is dropped, with the reason beside the code; what only a bug in this type can cause is a precondition.
public struct Arbiter: Sendable {
  public let settings: ArbiterSettings
  /// Identity, epoch and revision.
  public internal(set) var cluster: Cluster

  var hosts = Hosts()
  var endNodes = EndNodes()
  var claims = Table<String, ClaimState>()
  /// By record name: released entries that no claim stands behind, until their hosts have cleaned up.
  var abandoned = Table<String, WantedFunction>()
  /// By function: what another root does about it in the place of a host that is lost.
  var fencers = Table<String, WantedFunction>()

  // Indexes, so that a decision does not look at the whole cluster. All follow from the state above. What a claim can change is a
  // table that can be taken back (Trial.swift).
  package internal(set) var hostOfSession: [SessionID: String] = [:]
  /// Sessions of hosts that say they run anew, and whose agents have yet to answer.
  package internal(set) var greeted: [SessionID: AgentHello] = [:]
  var greetedOfHost: [String: Set<SessionID>] = [:]
  /// By the name of the claim that they have as their source.
  package internal(set) var claimsOfSource = Table<String, Set<String>>()
  /// By the name of the group that they are members of.
  package internal(set) var claimsOfGroup = Table<String, Set<String>>()
  /// Claims for a file server that are to be released and wait for those that have parts of what they hold.
  var heldUp = Register()
  var drains = Drains()
  var taintClocks = TaintClocks()
  /// By class.
  var rebalancings: [String: Rebalancing] = [:]
  /// End nodes that give no new functions because their health changes too often.
  var heldForFlapping: Set<String> = []
  /// By group.
  var waitingGroups = Table<String, WaitingGroup>()
  /// By class: the groups of which members wait for a function of it.
  var queuesOfGroups = Table<String, OrderedSet<GroupInQueue>>()
  /// By class.
  var claimTurns = Table<String, ClaimTurn>()
  /// By claim.
  var nextInOrder = Table<String, NextInOrder>()
  /// By group.
  var groupFailures = Table<String, FailedPlaces>()
  /// Claims whose functions are unhealthy, or were of late.
  var ailments = Ailments()
  /// Where functions were unhealthy for longer than their claims put up with.
  var unhealthyPlaces = Table<Wish, UnhealthyPlaces>()
  /// No hold of those ends before; they are looked at no sooner.
  var nextUnhealthyPlace: UInt64 = 0
  /// Claims that let go because they were evicted.
  var evicting = Evictions()
  /// By function: the record name of the abandoned entry whose share of the end node has yet to be cleaned.
  var abandonedWithShare = Table<String, String>()
  /// By end node: the record names of what was left of it.
  var abandonedOfEndNode = Table<String, Set<String>>()
  var claimOfFunction = Table<String, String>()
  var functionsOfPeers = Table<PeerPlace, Int>()
  var claimOfMAC = Table<MACAddress, String>()
  var claimOfInterface = Table<InterfaceKey, String>()
  /// By the name of an interface: those that ask for it and leave its host open.
  var claimsOfOpenInterface = Table<String, Set<String>>()
  var expiries = Expiries()
  var upgrades = Upgrades()
  var holders = Holders()
  var tenants = Table<String, Tenant>()
  /// What the claims of each have that are not proven to have let go.
  var uses = Table<TenantClass, Amount>()
  /// The sums of those, by class.
  var usesOfClass = Table<String, Amount>()
  var claimsOfTenant = Table<String, Int>()
  /// By end node: for whom others let go of something there.
  var nominations = Table<String, [Nomination]>()
  var claimOfVNI = Table<UInt32, String>()
  var selectors = ClaimSelectors<EndNodeState>(.endNodes)
  var hostSelectors = ClaimSelectors<Host>(.hosts)
  /// By class.
  var waiting: [String: WaitingList] = [:]
  var orphanIndex = OrphanIndex()
  /// Claims whose function lies where it cannot; what is let go of beside it may resolve that.
  var stoppedByGeometry = Register()

  /// The revision that this run began with: an entry with a higher one was changed in this run.
  private(set) var firstRevision: UInt64 = 0
  /// When this run took its first event.
  package internal(set) var began: Instant?
  private(set) var clock = SettledClock()
  /// When the event at hand came.
  var now: Instant?

  /// What the event at hand has changed so far.
  var changes = Changes()
  /// How often what claims may fit into has changed in this run: what is planned holds as long as neither this nor the revision has.
  var situation: UInt64 = 0
  /// As long as it is the same, every tenant has the same functions and weight.
  var usesRevision: UInt64 = 0
  /// As long as it is the same, no tenant has another share.
  var sharesRevision: UInt64 { usesRevision &+ endNodes.capacityRevision }
  /// What is only tried, the outermost trial first.
  var trials: [Trial] = []

  /// Restores the state that `records` hold and begins a new epoch: an agent that hears from this arbiter obeys no
  /// earlier one any more. The effects must be durable before anybody is answered.
  ///
  /// - Throws: a refusal, if the records contradict each other.
  public init(
    clusterID: String, version: String, records: [Record], settings: ArbiterSettings = ArbiterSettings()
  ) throws(Refusal) {
    self.settings = settings
    var cluster = Cluster()
    cluster.id = clusterID
    self.cluster = cluster
    try restore(records)
    guard self.cluster.id == clusterID else {
      throw Refusal(.failedPrecondition, "the store is of cluster \(clusterID), its records are of \(self.cluster.id)")
    }
    firstRevision = self.cluster.revision
    self.cluster.epoch += 1
    self.cluster.coordinatorVersion = version
    try restoreIndexes()
    changes.save(.init(.cluster, ""))
  }

  /// What a new arbiter must make durable before its first event: its epoch.
  public mutating func begin() -> [Effect] { takeEffects() }

  /// Takes one event and answers what is to be done about it.
  public mutating func handle(_ event: Event, at now: Instant) -> [Effect] {
    if began == nil { began = now }
    self.now = now
    clock.watch(now)
    if !greeted.isEmpty { admitAnswering(event, at: now) }
    switch event {
    case .claimCreated(let call, let request, let uid):
      answer(call) { (arbiter) throws(Refusal) in .claim(try arbiter.createClaim(request, uid: uid, at: now)) }
    case .claimDeleted(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .claim(try arbiter.deleteClaim(request)) }
    case .claimExtended(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .claim(try arbiter.extendClaim(request, at: now)) }
    case .claimRatesUpdated(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .claim(try arbiter.updateRates(request)) }
    case .claimEvicted(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .claim(try arbiter.evictClaim(request)) }
    case .tenantCreated(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .tenant(try arbiter.createTenant(request)) }
    case .tenantSet(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .tenant(try arbiter.setTenant(request)) }
    case .tenantDeleted(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .tenant(try arbiter.deleteTenant(request.name)) }
    case .cordoned(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .maintenance(try arbiter.cordon(request, at: now)) }
    case .uncordoned(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .maintenance(try arbiter.uncordon(request)) }
    case .drained(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .maintenance(try arbiter.drain(request, at: now)) }
    case .rebalanced(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .rebalance(try arbiter.rebalance(request, at: now)) }
    case .tainted(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .maintenance(try arbiter.taint(request, at: now)) }
    case .functionCountSet(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .maintenance(try arbiter.setFunctionCount(request)) }
    case .claimsApplied(let call, let request, let uids):
      answer(call) { (arbiter) throws(Refusal) in .plan(try arbiter.applyClaims(request, uids: uids, at: now)) }
    case .hostConfirmedDead(let call, let request, let reason, let isKnownToBeOff):
      answer(call) { (arbiter) throws(Refusal) in
        .host(try arbiter.confirmDead(request, reason: reason, isKnownToBeOff: isKnownToBeOff, at: now))
      }
    case .hostForgotten(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .host(try arbiter.forgetHost(request)) }
    case .hostRescanned(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .host(try arbiter.rescan(request)) }
    case .orphanAdopted(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .claim(try arbiter.adoptOrphan(request, at: now)) }
    case .orphanPurged(let call, let request):
      answer(call) { (arbiter) throws(Refusal) in .orphans(try arbiter.purgeOrphan(request)) }
    case .fenceFailed(let host, let bootID, let message): noteFailedFence(of: host, bootID, message, at: now)
    case .hostConnected(let session, let hello): connect(session, hello, at: now)
    case .hostDisconnected(let session): disconnect(session)
    case .heartbeatReceived(let session, let heartbeat): renewLease(session, heartbeat, at: now)
    case .inventoryReported(let session, let report): takeInventory(session, report)
    case .functionsReported(let session, let report): takeFunctions(session, report)
    case .timePassed:
      endExpired(at: now)
      expireLeases(at: now)
      moveLostControls(at: now)
      // What another root can fence at the device needs no host to be switched off.
      chooseFencers(at: now)
      concludeFromSilence(at: now)
      carryOnTaints(at: now)
      carryOnDrains(at: now)
      carryOnRebalancings(at: now)
      carryOnUpgrades(at: now)
      carryOnAilments(at: now)
      endHolds(at: now)
      endGroupHolds(at: now)
      endUnhealthyPlaces(at: now)
      // What has become free is given in the order of those who wait, whoever looks next.
      settleConsequences()
      takeTurns(at: now)
      settleConsequences()
      takeClaimTurns(at: now)
      settleConsequences()
      lookAgain()
    }
    noteFlips(at: now)
    return takeEffects()
  }

  private mutating func answer(_ call: CallID?, _ decide: (inout Arbiter) throws(Refusal) -> Answer) {
    do throws(Refusal) {
      let answer = try decide(&self)
      if let call { changes.replies.append(.answer(call, answer)) }
    } catch {
      if let call { changes.replies.append(.refuse(call, error)) }
    }
  }
}

/// Where an interface's name must be unique.
struct InterfaceKey: TableKey {
  typealias Kept = WholeHash

  var host: String
  /// Empty: the host's own.
  var networkNamespace: String
  var name: String

  var scattered: UInt64 {
    Scattering.mix(Scattering.mix(host.scattered, networkNamespace.scattered), name.scattered)
  }
}
