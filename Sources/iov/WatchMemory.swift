import Services

/// What a watcher has seen, so that a watch that broke goes on where it was: after the last revision, or, where the
/// coordinator does not know that one any more, from a new list that is compared with what is known.
struct WatchMemory {
  private let name: String
  private var known: [String: Claim] = [:]
  /// Of the last event; zero: there is no place to go on from.
  private var revision: UInt64
  private var epoch: UInt64
  /// What there was before it is not known, so that no list could be compared with it.
  private let beginsLater: Bool
  /// The names seen in the list that is being sent; nil: only changes come.
  private var listed: Set<String>?
  private var wasSynced = false

  /// - Parameters:
  ///   - name: of the only claim that is watched; empty: all.
  ///   - place: of the last event that is known already; nil: begin with what there is.
  init(watching name: String, after place: (revision: UInt64, epoch: UInt64)? = nil) {
    self.name = name
    (revision, epoch) = place ?? (0, 0)
    beginsLater = place != nil
  }

  /// Begins a session with the coordinator. The epoch says that it can go on from a revision.
  mutating func nextRequest() -> WatchClaimsRequest {
    let resumes = epoch != 0 && revision != 0
    listed = resumes ? nil : []
    return WatchClaimsRequest {
      $0.name = name
      if resumes {
        $0.fromRevision = revision
        $0.epoch = epoch
      }
    }
  }

  /// The coordinator does not have what came after the last revision. False: the session was a new list already, or would tell again
  /// what the caller knows.
  mutating func beginAnew() -> Bool {
    guard !beginsLater else { return false }
    defer { revision = 0 }
    return revision != 0
  }

  /// What a watcher that never lost its coordinator would have been told.
  mutating func receive(_ event: ClaimEvent) -> [ClaimEvent] {
    switch event.kind {
    case .exists: return exists(event)
    case .synced: return synced(event)
    case .changed, .gone:
      (revision, epoch) = (event.revision, event.epoch)
      return changed(event)
    case .unspecified, .unrecognized: return [event]
    }
  }

  private mutating func exists(_ event: ClaimEvent) -> [ClaimEvent] {
    guard let claim = event.claim else { return [] }
    listed?.insert(claim.name)
    if wasSynced {
      guard known[claim.name] != claim else { return [] }
      return changed(event.with { $0.kind = .changed })
    }
    // The first list broke off and is sent once more.
    let isNews = known.updateValue(claim, forKey: claim.name) != claim
    return isNews ? [event] : []
  }

  private mutating func synced(_ event: ClaimEvent) -> [ClaimEvent] {
    guard let listed else { return [] }
    self.listed = nil
    (revision, epoch) = (event.revision, event.epoch)
    let gone = known.keys.filter { !listed.contains($0) }.sorted().compactMap { known.removeValue(forKey: $0) }
    defer { wasSynced = true }
    return gone.map { claim in
      event.with {
        $0.kind = .gone
        $0.claim = claim
      }
    } + (wasSynced ? [] : [event])
  }

  private mutating func changed(_ event: ClaimEvent) -> [ClaimEvent] {
    guard let claim = event.claim else { return [event] }
    let before = known[claim.name]
    known[claim.name] = event.kind == .gone ? nil : claim
    guard let before, before.uid != claim.uid else { return [event] }
    // Another claim of the same name: the end of the former one was missed.
    let end = event.with {
      $0.kind = .gone
      $0.claim = before
    }
    return [end, event]
  }
}

extension ClaimEvent {
  fileprivate func with(_ change: (inout ClaimEvent) -> Void) -> ClaimEvent {
    var copy = self
    change(&copy)
    return copy
  }
}

extension Coordinator {
  /// Follows one claim, or all with an empty name, over restarts of the coordinator, until `handle` answers false.
  ///
  /// Throws DEADLINE_EXCEEDED at `end`, and UNAVAILABLE when the coordinator stays away for longer than the patience.
  func followClaims(
    named name: String, after place: (revision: UInt64, epoch: UInt64)? = nil,
    until end: ContinuousClock.Instant? = nil,
    _ handle: (ClaimEvent) throws -> Bool
  ) async throws {
    var memory = WatchMemory(watching: name, after: place)
    var outage = Patience.Outage(patience)
    while true {
      var heard = false
      let begun = ContinuousClock.now
      do {
        let options = CallOptions(timeout: end.map { max(.zero, $0 - .now) })
        for try await event in try await claims.watchClaims(memory.nextRequest(), options: options) {
          heard = true
          for event in memory.receive(event) where try !handle(event) { return }
        }
        throw RPCError(.unavailable, "the coordinator ended the watch")
      } catch let error as RPCError {
        switch error.code {
        case .unavailable:
          // A watch that held says that the coordinator was back, also when it had nothing to tell.
          if heard || .now - begun > .seconds(Int64(patience.seconds)) { outage = Patience.Outage(patience) }
          try await outage.wait(after: error)
        case .outOfRange where memory.beginAnew(): break
        // It was too slow for the coordinator to keep its events: go on from the last one.
        case .resourceExhausted where heard: break
        default: throw error
        }
      }
    }
  }
}
