import FunctionPluginKit
import LinuxDevices
import Services

/// Keeps a disk for one host among several by a persistent reservation: what the host registers is its token.
///
/// Tokens of one end node come from one counter, so the disk itself tells who is stale: whoever finds a lower one registered
/// takes it away, and whoever finds a higher one lets the disk alone.
public struct ReservationKeeper: DiskKeeper {
  /// Nobody else reads either: what one tenant has on a whole disk is nobody's business. Registrants, because a host may
  /// have several paths, each registered by itself.
  static let type = ReservationType.exclusiveAccessRegistrantsOnly
  private let reservation: PersistentReservation
  private let pathCount: Int

  /// - Parameter paths: all that this host has to the disk.
  public init(paths: [any ReservationDevice]) {
    reservation = PersistentReservation(paths: paths)
    pathCount = paths.count
  }

  public func seize(_ token: FencingToken) throws {
    let own = try ReservationKey(token)
    try checkOthers(in: try reservation.state(), against: own)
    try reservation.register(own)
    do {
      for other in try reservation.state().keys.sorted() where other < own {
        _ = try reservation.fence(other, by: own, type: Self.type)
      }
      _ = try reservation.reserve(Self.type, by: own)
      // One with a higher token may have come between: it takes the disk, or has it.
      try checkOthers(in: try reservation.state(), against: own)
    } catch {
      try? reservation.unregister(own)
      throw error
    }
  }

  public func isHeld(by token: FencingToken) throws -> Bool {
    let own = try ReservationKey(token)
    let state = try reservation.state()
    guard state.reservation?.type == Self.type, state.holds(own) else { return false }
    // A path that came back has to be registered again, or it writes nothing. Where the disk takes two paths for one, there
    // is one registration for both, and doing it again changes nothing.
    if state.registrations.count(where: { $0.key == own }) < pathCount { _ = try? reservation.registerAgain(own) }
    return true
  }

  public func letGo(of token: FencingToken) throws {
    let own = try ReservationKey(token)
    try reservation.release(by: own)
    try reservation.unregister(own)
  }

  /// The highest token of this cluster that is registered; nil: none.
  public func highestToken() throws -> FencingToken? {
    try reservation.state().keys.compactMap(FencingToken.init(registeredAs:)).max { $0.value < $1.value }
  }

  private func checkOthers(in state: ReservationState, against own: ReservationKey) throws {
    let tokens = state.keys.map { (key: $0, token: FencingToken(registeredAs: $0)) }
    let foreign = tokens.filter { $0.token == nil }.map(\.key).sorted()
    guard foreign.isEmpty else {
      throw PluginError(
        .failedPrecondition,
        "the disk has registrations that are not of this cluster (\(foreign.map { "\($0)" }.joined(separator: ", "))): "
          + "whoever made them may be writing to it. If nobody does, remove them with sg_persist or nvme-cli")
    }
    guard let highest = tokens.compactMap(\.token).max(by: { $0.value < $1.value }), try ReservationKey(highest) > own
    else { return }
    throw PluginError(
      .failedPrecondition, "the disk is held under token \(highest.value), which is higher", highestToken: highest)
  }
}

extension ReservationKey {
  /// "iov" before the token, so that what others registered is told from ours.
  private static let prefix: UInt64 = 0x69_6f76 << 40

  init(_ token: FencingToken) throws(PluginError) {
    guard token.value > 0, token.value < 1 << 40, let key = ReservationKey(Self.prefix | token.value) else {
      throw PluginError(
        .invalidArgument, "token \(token.value) cannot be registered with a disk: it has more than 40 bits")
    }
    self = key
  }

  fileprivate var token: UInt64? { (value >> 40) << 40 == Self.prefix ? value & (1 << 40 - 1) : nil }
}

extension FencingToken {
  /// Nil: the key is somebody else's.
  init?(registeredAs key: ReservationKey) {
    guard let value = key.token else { return nil }
    self = FencingToken { $0.value = value }
  }
}
