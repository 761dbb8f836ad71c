import Synchronization

/// Connections that a server has taken and whose peers have yet to show that they speak HTTP/2: after a start those of a whole
/// rack may be on their way through TLS at once. What can wait lets them go first.
public final class Arrivals: Sendable {
  private let number = Atomic(0)

  public init() {}

  public var count: Int { number.load(ordering: .relaxed) }

  public func begin() { number.add(1, ordering: .relaxed) }
  public func end() { number.subtract(1, ordering: .relaxed) }
}
