/// What the state of a disk says about a fence: the decision without the disk.
enum FenceVerdict: Hashable {
  /// The victim can no longer write, nor read where the type keeps readers out.
  case fenced
  /// A reservation has to be made before taking away a registration keeps anybody out.
  case reserveFirst
  case preempt
  case refused(ReservationError.Reason)

  init(_ state: ReservationState, victim: ReservationKey, own: ReservationKey, type: ReservationType) {
    guard victim != own else {
      self = .refused(.victimIsSelf(own))
      return
    }
    guard state.isRegistered(own) else {
      self = .refused(.notRegistered(own, state))
      return
    }
    guard let reservation = state.reservation else {
      self = .reserveFirst
      return
    }
    // Whoever holds it as well as the victim is pushed out by a pre-emption, which makes a reservation of the type asked for.
    if reservation.holder == victim, state.isRegistered(victim) {
      self = .preempt
      return
    }
    guard Self.isEnough(reservation.type, type) else {
      self = .refused(.anotherType(reservation, wanted: type))
      return
    }
    guard state.holds(own) else {
      self = .refused(.heldByAnother(reservation, state))
      return
    }
    self = state.isRegistered(victim) ? .preempt : .fenced
  }

  /// Whether one type keeps out whom another would, and lets in whom it would.
  private static func isEnough(_ standing: ReservationType, _ wanted: ReservationType) -> Bool {
    (standing.keepsReadersOut || !wanted.keepsReadersOut) && standing.admitsRegistrants == wanted.admitsRegistrants
  }
}
