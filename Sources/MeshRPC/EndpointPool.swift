/// Whom a channel with several endpoints calls.
public enum EndpointPolicy: Sendable, Hashable {
  /// The first endpoint, in order, that can be reached; it is kept as long as its connection lasts.
  case failover
  /// All of them in turn: a connection for each.
  case roundRobin
}

/// What a channel can do for its next call.
public enum ChannelState: Sendable, Hashable {
  /// There is no connection, and no call needs one. The next call makes one.
  case idle
  case connecting
  case ready
  /// No endpoint could be reached; the channel tries again after a while. Calls fail at once, unless they wait for ready.
  case transientFailure
  /// Closed, or drained to the end.
  case shutdown
}

/// Decides when a channel connects to which endpoint, and which connection a call takes.
///
/// Each event answers what is to be done. Endpoints are known by their index.
struct EndpointPool {
  typealias Instant = ContinuousClock.Instant

  enum Action: Hashable {
    /// Make a connection, and say `connected` or `attemptFailed`.
    case connect(Int)
    /// Say `pauseEnded` then.
    case pause(Int, until: Instant)
    /// There is a connection: all calls that wait can begin.
    case beginWaiting
    /// All endpoints have been tried in vain: calls that wait fail, but for those that wait for ready.
    case failWaiting
  }

  private enum Connection {
    case none
    case attempted(since: Instant)
    case ready(since: Instant)
    case pausing(afterFailure: Bool)
  }

  private struct Endpoint {
    var connection = Connection.none
    /// Attempts in a row.
    var failures = 0
    /// Since the last connection, or since calls were last told that all have failed.
    var wasTriedInVain = false

    var isReady: Bool { if case .ready = connection { true } else { false } }
    var isAttempted: Bool { if case .attempted = connection { true } else { false } }
    var isIdle: Bool { if case .none = connection { true } else { false } }
    var pausesAfterFailure: Bool { if case .pausing(afterFailure: true) = connection { true } else { false } }
  }

  private let policy: EndpointPolicy
  private let backoff: ExponentialBackoff
  private var endpoints: [Endpoint]
  /// The endpoint that the last call took.
  private var last = 0
  /// Calls that wait for a connection, and fail when there can be none.
  private var impatientCalls = 0
  /// Calls that wait for a connection, however long.
  private var patientCalls = 0
  private var wasUsed = false
  private var isEnding = false
  private var isClosed = false

  init(endpointCount: Int, policy: EndpointPolicy, backoff: ExponentialBackoff) {
    self.policy = policy
    self.backoff = backoff
    endpoints = Array(repeating: Endpoint(), count: endpointCount)
  }

  var state: ChannelState {
    if isClosed { return .shutdown }
    if endpoints.contains(where: \.isReady) { return .ready }
    if endpoints.contains(where: \.isAttempted) { return .connecting }
    return endpoints.allSatisfy(\.pausesAfterFailure) ? .transientFailure : .idle
  }

  // MARK: Calls

  /// The connection for a call; nil: it must wait.
  mutating func pick() -> Int? {
    if policy == .failover, endpoints[last].isReady { return last }
    for step in 1...endpoints.count {
      let index = (last + step) % endpoints.count
      guard endpoints[index].isReady else { continue }
      last = index
      return index
    }
    return nil
  }

  /// A call waits for a connection. nil: there can be none now, and the call does not wait for one.
  mutating func callWaits(forReady: Bool, at now: Instant) -> [Action]? {
    if !forReady, endpoints.allSatisfy(\.pausesAfterFailure) { return nil }
    if forReady { patientCalls += 1 } else { impatientCalls += 1 }
    wasUsed = true
    return connections(at: now)
  }

  /// A call does not wait any more: it was given up.
  mutating func callLeft(forReady: Bool) {
    if forReady { patientCalls -= 1 } else { impatientCalls -= 1 }
  }

  // MARK: Connections

  mutating func connected(_ index: Int, at now: Instant) -> [Action] {
    // A server may send its settings more than once.
    guard case .attempted = endpoints[index].connection else { return [] }
    endpoints[index].connection = .ready(since: now)
    endpoints[index].failures = 0
    forgetTrials()
    guard patientCalls + impatientCalls > 0 else { return [] }
    patientCalls = 0
    impatientCalls = 0
    return [.beginWaiting]
  }

  /// - Parameter draw: from 0 to 1.
  mutating func attemptFailed(_ index: Int, at now: Instant, draw: Double) -> [Action] {
    guard case .attempted(let start) = endpoints[index].connection else { return [] }
    endpoints[index].failures += 1
    endpoints[index].wasTriedInVain = true
    // From one attempt's start to the next one's, as gRPC counts: an attempt that took long has waited already.
    let next = start + backoff.delay(after: endpoints[index].failures, draw: draw)
    endpoints[index].connection = next > now ? .pausing(afterFailure: true) : .none
    var actions: [Action] = next > now ? [.pause(index, until: next)] : []
    if endpoints.allSatisfy({ $0.wasTriedInVain || $0.pausesAfterFailure }) {
      forgetTrials()
      if impatientCalls > 0 { actions.append(.failWaiting) }
      impatientCalls = 0
    }
    return actions + connections(at: now)
  }

  /// A connection takes no more calls: it was lost, or the server wants it to end.
  mutating func ended(_ index: Int, at now: Instant) -> [Action] {
    guard case .ready(let start) = endpoints[index].connection else { return [] }
    // With round robin another connection is made whether calls come or not: not in a circle, if a server ends each at
    // once.
    let next = start + backoff.initial
    if policy == .roundRobin, next > now {
      endpoints[index].connection = .pausing(afterFailure: false)
      return [.pause(index, until: next)]
    }
    endpoints[index].connection = .none
    return connections(at: now)
  }

  mutating func pauseEnded(_ index: Int, at now: Instant) -> [Action] {
    guard case .pausing = endpoints[index].connection else { return [] }
    endpoints[index].connection = .none
    return connections(at: now)
  }

  private mutating func forgetTrials() {
    for index in endpoints.indices { endpoints[index].wasTriedInVain = false }
  }

  /// The attempts to be made now.
  private mutating func connections(at now: Instant) -> [Action] {
    guard !isClosed else { return [] }
    let callsWait = patientCalls + impatientCalls > 0
    var chosen: [Int] = []
    switch policy {
    case .failover:
      guard callsWait, !endpoints.contains(where: { $0.isReady || $0.isAttempted }) else { return [] }
      chosen = endpoints.indices.filter { endpoints[$0].isIdle && !endpoints[$0].wasTriedInVain }
      if chosen.isEmpty { chosen = endpoints.indices.filter { endpoints[$0].isIdle } }
      chosen = Array(chosen.prefix(1))
    case .roundRobin:
      guard callsWait || (wasUsed && !isEnding) else { return [] }
      chosen = endpoints.indices.filter { endpoints[$0].isIdle }
    }
    for index in chosen { endpoints[index].connection = .attempted(since: now) }
    return chosen.map { .connect($0) }
  }

  // MARK: The end

  /// No new calls will come: connections are made for calls that wait alone.
  mutating func drain() { isEnding = true }

  mutating func close() { isClosed = true }
}
