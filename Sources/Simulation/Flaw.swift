import Arbitration
import Messages

/// A way in which an arbiter could be broken. It is put between a storm and a good arbiter, by what that one hears and says: a
/// storm that such an arbiter comes through unnoticed would prove nothing of a good one.
enum Flaw: String, CaseIterable, Sendable {
  /// Draws tokens anew that were drawn before it began, and does not listen to who says so.
  case forgetsTokens
  /// Takes what it has told a host to let go of for proven, and gives it to the next one.
  case takesOrdersForProof
  /// Takes a host whose session ended for dead.
  case takesSilenceForProof
  /// Takes a hello for that of the latest run, whenever it comes.
  case believesLateHellos
  /// Counts a lease for over before its host does: as if hosts counted from when an answer arrives.
  case endsLeasesEarly
  /// Answers a request for a claim that is not stored.
  case losesClaims
  /// Sends entries that are not stored.
  case losesEntries
  /// Keeps records of what is gone.
  case keepsWhatIsGone
  /// Sends and answers before it stores: what it has decided last is lost with it.
  case storesLate
  /// Gives one network to all.
  case sharesNetworks
  /// Gives out twice as many functions as there are.
  case overbooks
  /// Does not look at what hosts have that it does not know.
  case overlooksOrphans
  /// Leaves claims on the path that they have.
  case upgradesNobody
  /// Moves claims as often as it can.
  case upgradesTooSoon
  /// Moves claims that have not asked for it.
  case upgradesUnasked
  /// Takes the members of a group for claims of their own.
  case ignoresGroups
  /// Has claims let go for others of their own priority.
  case preemptsEquals
  /// Serves claims in the order in which they came, whatever their priorities.
  case servesByAgeAlone
  /// Grants whatever there is, whatever a tenant may have.
  case ignoresQuotas
  /// Takes all claims for one tenant's.
  case ignoresTenants

  /// Whether it shows only where claims are not all equal.
  var isOfContention: Bool {
    switch self {
    case .preemptsEquals, .servesByAgeAlone, .ignoresQuotas, .ignoresTenants: true
    default: false
    }
  }

  var settings: ArbiterSettings {
    var settings = ArbiterSettings(automaticFenceHosts: ["d"])
    if self == .upgradesTooSoon { settings.upgradeIntervalMilliseconds = 0 }
    if self == .endsLeasesEarly {
      settings.leaseTermMilliseconds = 1000
      settings.fenceMarginMilliseconds = 0
    }
    return settings
  }

  /// Whether only harsh storms ask for what it does wrong.
  var isOfHarshStorms: Bool {
    switch self {
    case .upgradesNobody, .upgradesTooSoon, .upgradesUnasked, .ignoresGroups, .believesLateHellos: true
    default: false
    }
  }

  /// Where a search begins: few storms have all that it takes to see some of these.
  var firstSeed: UInt64 {
    switch self {
    case .upgradesNobody: 90
    case .believesLateHellos: 1726
    default: 1
    }
  }

  /// Two upgrades of one claim in a row take more quiet than there mostly is.
  var quiet: Int { self == .upgradesTooSoon ? 50 : 250 }

  /// How long a storm is to be.
  var steps: Int { isOfHarshStorms ? 2000 : 120 }

  /// What the arbiter hears when something happens.
  func heard(_ event: Event) -> Event {
    switch (self, event) {
    case (.forgetsTokens, .inventoryReported(let session, var report)):
      for index in report.endNodes.indices { report.endNodes[index].highestToken = nil }
      return .inventoryReported(session, report)
    case (.forgetsTokens, .functionsReported(let session, var report)):
      for index in report.functions.indices { report.functions[index].error?.highestToken = nil }
      return .functionsReported(session, report)
    case (.overbooks, .inventoryReported(let session, var report)):
      for index in report.endNodes.indices {
        report.endNodes[index].capacity?.functions *= 2
        report.endNodes[index].capacity?.sizeBytes *= 2
      }
      return .inventoryReported(session, report)
    case (.preemptsEquals, .claimCreated(let call, var request, let uid)):
      if uid.last?.wholeNumberValue.map({ $0 % 2 == 0 }) ?? false { request.specification?.priority += 1 }
      return .claimCreated(call, request, uid: uid)
    case (.servesByAgeAlone, .claimCreated(let call, var request, let uid)):
      request.specification?.priority = 0
      return .claimCreated(call, request, uid: uid)
    case (.ignoresQuotas, .tenantCreated(let call, var request)):
      request.quotas = []
      return .tenantCreated(call, request)
    case (.ignoresTenants, .claimCreated(let call, var request, let uid)):
      request.specification?.tenant = ""
      return .claimCreated(call, request, uid: uid)
    case (.overlooksOrphans, .functionsReported(let session, var report)):
      // Only what nobody wants is reported with what it was made for.
      report.functions.removeAll { $0.assignment != nil }
      return .functionsReported(session, report)
    case (.upgradesNobody, .claimCreated(let call, var request, let uid)):
      request.specification?.upgrade = false
      return .claimCreated(call, request, uid: uid)
    case (.upgradesUnasked, .claimCreated(let call, var request, let uid)):
      let mayBeMoved = request.specification?.evictionPolicy != .never
      request.specification?.upgrade = mayBeMoved
      return .claimCreated(call, request, uid: uid)
    case (.ignoresGroups, .claimsApplied(let call, var request, let uids)):
      for index in request.claims.indices { request.claims[index].specification?.group = "" }
      return .claimsApplied(call, request, uids: uids)
    default: return event
    }
  }

  /// What becomes of what the arbiter decides.
  func said(_ effects: [Effect]) -> [Effect] {
    effects.compactMap { effect -> Effect? in
      switch (self, effect) {
      case (.losesClaims, .save(.claim)), (.losesEntries, .save(.wantedFunction)), (.keepsWhatIsGone, .remove):
        return nil
      case (.forgetsTokens, .save(.endNode(var node))):
        node.highestToken = nil
        return .save(.endNode(node))
      case (.sharesNetworks, .send(let session, var message)):
        guard case .wanted(var state) = message.kind else { return effect }
        for index in state.functions.indices where state.functions[index].assignment?.mediation?.vni ?? 0 > 0 {
          state.functions[index].assignment?.mediation?.vni = 4096
        }
        message.kind = .wanted(state)
        return .send(session, message)
      default: return effect
      }
    }
  }

  /// What the arbiter takes for said after it has decided that, because of something that a host has said.
  func presumed(after event: Event, of host: String?, _ effects: [Effect], by hosts: [StormHost]) -> [Event] {
    switch (self, event) {
    case (.takesSilenceForProof, .hostDisconnected):
      guard let host else { return [] }
      return [.hostConfirmedDead(nil, ConfirmHostDeadRequest { $0.host = host }, reason: "it is silent")]
    case (.believesLateHellos, .hostConnected(let session, _)):
      return [.heartbeatReceived(session, Heartbeat())]
    case (.takesOrdersForProof, _):
      return effects.compactMap { effect -> Event? in
        guard case .send(let session, let message) = effect, case .wanted(let state) = message.kind,
          let host = hosts.first(where: { $0.session == session })
        else { return nil }
        let released = state.functions.filter { $0.released && !$0.abandoned }
        guard !released.isEmpty else { return nil }
        let report = FunctionReport {
          $0.epoch = state.epoch
          $0.revision = state.revision
          $0.bootId = host.bootID
          $0.functions = released.map { FunctionStatus(goneBy: $0) }
        }
        return .functionsReported(session, report)
      }
    default: return []
    }
  }
}

extension FunctionStatus {
  fileprivate init(goneBy entry: WantedFunction) {
    self.init()
    function = VirtualFunction {
      $0.id = entry.assignment?.function ?? ""
      $0.endNode = entry.assignment?.endNode ?? ""
      $0.token = entry.assignment?.token
    }
    role = entry.role
    revision = entry.revision
    phase = .absent
  }
}
