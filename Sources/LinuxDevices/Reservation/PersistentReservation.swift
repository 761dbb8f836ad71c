/// The persistent reservation of one disk, by all paths that this host has to it.
///
/// A registration belongs to a path: it is made on each, and made again on one that comes back. Everything else is asked of
/// the first path that answers. Each operation reads back what it did, may be repeated, and blocks. Whoever calls them takes
/// care that one at a time runs on a disk; what other hosts do meanwhile is found out.
public struct PersistentReservation: Sendable {
  private let paths: [any ReservationDevice]

  /// - Parameter paths: all of one disk.
  public init(paths: [any ReservationDevice]) { self.paths = paths }

  public init(_ transports: [any SCSITransport]) { self.init(paths: transports.map { SCSIReservationDevice($0) }) }

  /// What errors call the disk.
  private var name: String { paths.first?.name ?? "the disk" }

  // MARK: Asking

  /// What the disk can do; an error of its own where it knows no reservations.
  public func capabilities() throws(ReservationError) -> ReservationCapabilities {
    try onAnyPath("to report its capabilities") { path throws(ReservationRefusal) in try path.reservationCapabilities()
    }
  }

  public func state() throws(ReservationError) -> ReservationState {
    try onAnyPath("to list its keys") { path throws(ReservationRefusal) in try path.reservationState() }
  }

  /// Refuses a disk with keys that the caller does not know: another cluster uses it, or did, or an administrator.
  public func checkForeignKeys(knowing known: Set<ReservationKey>) throws(ReservationError) {
    let state = try state()
    let foreign = state.keys.subtracting(known)
    guard foreign.isEmpty else { throw ReservationError(name, .foreignKeys(foreign.sorted(), state)) }
  }

  // MARK: Taking part

  /// Registers the key on every path, in place of what key this host had there.
  ///
  /// - Parameter persistently: registrations and reservation outlive a loss of power, where the disk can do that. Without,
  ///   a disk that was switched off and on lets everybody write.
  /// - Returns: the names of the paths that failed; at least one succeeded. Those write to nothing until they are registered.
  @discardableResult
  public func register(
    _ key: ReservationKey, persistently: Bool = true
  ) throws(ReservationError) -> [String: ReservationError] {
    var failures: [String: ReservationError] = [:]
    for path in paths {
      do throws(ReservationError) {
        try register(key, persistently: persistently, on: path)
      } catch {
        failures[path.name] = error
      }
    }
    guard failures.count < paths.count else { throw firstFailure(failures) }
    let state = try state()
    // One for each path, where they are told apart at all: two paths that are one to the disk have one registration.
    guard state.isRegistered(key) else {
      throw ReservationError(name, .unproven("it took the registration of \(key), and does not list it", state))
    }
    return failures
  }

  /// Registers the key on paths that came back, as long as the disk has it from another: where it has none, this host was
  /// fenced, or the disk lost its registrations with its power, and whoever arbitrates decides.
  @discardableResult
  public func registerAgain(
    _ key: ReservationKey, persistently: Bool = true
  ) throws(ReservationError) -> [String: ReservationError] {
    let state = try state()
    guard state.isRegistered(key) else { throw ReservationError(name, .notRegistered(key, state)) }
    return try register(key, persistently: persistently)
  }

  /// Reserves the disk for the key, which is registered; one that is reserved so already stays as it is.
  public func reserve(
    _ type: ReservationType, by key: ReservationKey
  ) throws(ReservationError) -> ReservationState {
    try checkSupport(type)
    let before = try state()
    guard before.isRegistered(key) else { throw ReservationError(name, .notRegistered(key, before)) }
    if let standing = try judge(before, type, key) { return standing }
    let refusal = attempt(.reserve(key, type))
    let after = try state()
    guard let standing = try judge(after, type, key) else {
      throw refusal ?? ReservationError(name, .unproven("it took the reservation, and is not reserved", after))
    }
    return standing
  }

  /// Ends the reservation, if the key holds it. Where all registrants hold it, it ends for all of them.
  public func release(by key: ReservationKey) throws(ReservationError) {
    let before = try state()
    guard let reservation = before.reservation, before.isRegistered(key),
      reservation.holder == key || reservation.type.isHeldByAllRegistrants
    else { return }
    let refusal = attempt(.release(key, reservation.type))
    let after = try state()
    // Another host may have reserved it since.
    guard after.reservation != reservation else {
      throw refusal ?? ReservationError(name, .unproven("it took the release by \(key), and is still reserved", after))
    }
  }

  /// Takes the key off every path.
  ///
  /// A reservation of any type but "all registrants" goes with its holder's registration, for everybody: another registrant
  /// reserves the disk again.
  public func unregister(_ key: ReservationKey) throws(ReservationError) {
    guard try state().isRegistered(key) else { return }
    var failure: ReservationError?
    for path in paths {
      do throws(ReservationRefusal) {
        try path.change(.unregister(key))
      } catch .conflict {
        // This path is not registered by that key.
      } catch {
        failure = failure ?? ReservationError(path.name, error, asked: "to unregister \(key)")
      }
    }
    let after = try state()
    guard !after.isRegistered(key) else {
      throw failure
        ?? ReservationError(
          name, .unproven("\(key) is still registered, by a path that this host has no more or by another host", after))
    }
  }

  /// Removes all registrations and the reservation, whosever they are.
  public func clear(by key: ReservationKey) throws(ReservationError) {
    let refusal = attempt(.clear(key))
    let after = try state()
    guard after.registrations.isEmpty, after.reservation == nil else {
      throw refusal ?? ReservationError(name, .unproven("it was cleared, and is not clear", after))
    }
  }

  // MARK: Fencing

  /// Keeps the victim out, proven by the disk: its key is gone from every path, what it had under way has ended, and a
  /// reservation stands that keeps out whoever is not registered.
  ///
  /// - Parameters:
  ///   - victim: the key of the host that must not write any more.
  ///   - own: registered by this host.
  ///   - type: what stands afterwards. One of those for registrants keeps the other hosts in; one that does not admit
  ///     registrants is for this path alone.
  public func fence(
    _ victim: ReservationKey, by own: ReservationKey, type: ReservationType
  ) throws(ReservationError) -> FenceProof {
    try checkSupport(type)
    let before = try state()
    let wasRegistered = before.isRegistered(victim)
    var current = before
    var refusal: ReservationError?
    // A reservation and a pre-emption, each once more if another host came between.
    for _ in 0..<4 {
      switch FenceVerdict(current, victim: victim, own: own, type: type) {
      case .fenced:
        return FenceProof(victim: victim, wasRegistered: wasRegistered, before: before, after: current)
      case .refused(let reason): throw ReservationError(name, reason)
      case .reserveFirst: refusal = attempt(.reserve(own, type))
      case .preempt: refusal = attempt(.preempt(own, victim: victim, type, aborting: true))
      }
      current = try state()
    }
    throw refusal
      ?? ReservationError(name, .unproven("\(victim) was pre-empted, and is registered again or still", current))
  }

  // MARK: Paths

  private func register(
    _ key: ReservationKey, persistently: Bool, on path: any ReservationDevice
  ) throws(ReservationError) {
    do throws(ReservationRefusal) {
      let persists = persistently ? (try? path.reservationCapabilities().canPersist) ?? true : false
      try path.change(.register(key, persistently: persists))
    } catch {
      throw ReservationError(path.name, error, asked: "to register \(key)")
    }
  }

  /// Asks path after path until one takes it, as a path that is dead or not registered does not; nil: one did.
  ///
  /// One whose answer is missing may have done it, too. No change does more when it is done twice, and every caller looks
  /// at the disk's state afterwards, which is what counts.
  private func attempt(_ change: ReservationChange) -> ReservationError? {
    var first: ReservationError?
    for path in paths {
      do throws(ReservationRefusal) {
        try path.change(change)
        return nil
      } catch {
        first = first ?? ReservationError(path.name, error, asked: change.name)
      }
    }
    return first ?? ReservationError(name, .noPath)
  }

  private func onAnyPath<Answer>(
    _ what: String, _ body: (any ReservationDevice) throws(ReservationRefusal) -> Answer
  ) throws(ReservationError) -> Answer {
    var first: ReservationError?
    for path in paths {
      do throws(ReservationRefusal) {
        return try body(path)
      } catch {
        first = first ?? ReservationError(path.name, error, asked: what)
      }
    }
    throw first ?? ReservationError(name, .noPath)
  }

  private func firstFailure(_ failures: [String: ReservationError]) -> ReservationError {
    paths.lazy.compactMap { failures[$0.name] }.first ?? ReservationError(name, .noPath)
  }

  // MARK: Judging

  private func checkSupport(_ type: ReservationType) throws(ReservationError) {
    // A disk that does not report its capabilities may know the type all the same, and refuses it itself if not.
    guard let offered = (try? capabilities())?.types, !offered.contains(type) else { return }
    throw ReservationError(name, .typeUnsupported(type, offered: offered))
  }

  /// The state, if the disk is reserved as wanted; nil if nobody reserved it.
  private func judge(
    _ state: ReservationState, _ type: ReservationType, _ key: ReservationKey
  ) throws(ReservationError) -> ReservationState? {
    guard let reservation = state.reservation else { return nil }
    guard state.holds(key) else { throw ReservationError(name, .heldByAnother(reservation, state)) }
    guard reservation.type == type else { throw ReservationError(name, .anotherType(reservation, wanted: type)) }
    return state
  }
}

/// What a disk said after a fence.
public struct FenceProof: Sendable, Hashable {
  public var victim: ReservationKey
  /// False: somebody had taken its registration already, and whether that one had what was under way aborted is not known.
  public var wasRegistered: Bool
  public var before: ReservationState
  /// The victim is not registered, and the disk is reserved for this host or for those registered.
  public var after: ReservationState
}

extension ReservationError {
  fileprivate init(_ device: String, _ refusal: ReservationRefusal, asked what: String) {
    let reason: Reason =
      switch refusal {
      case .conflict: .conflict(what)
      case .unsupported: .unsupported(what)
      case .noRoomForRegistration: .noRoomForRegistration
      case .wrongTypeReleased, .unsteady: .failed("\(device): \(what): \(refusal)", isUnknown: false)
      case .failed(let text, let isUnknown): .failed(text, isUnknown: isUnknown)
      }
    self.init(device, reason)
  }
}
