import Arbitration
import Messages

/// Claims in the order in which they are listed, and the functions that they have in theirs, so that no list has to sort them.
struct ListedClaims {
  private var claims: [String: Claim]
  private var names: OrderedSet<String>
  private var functions: OrderedSet<HeldFunction>

  init(_ claims: [Claim]) {
    self.claims = Dictionary(claims.map { ($0.name, $0) }, uniquingKeysWith: { _, last in last })
    // They come in their order, which a dictionary has not.
    names = OrderedSet(claims.map(\.name))
    functions = OrderedSet(claims.compactMap { HeldFunction(of: $0) })
  }

  subscript(name: String) -> Claim? { claims[name] }

  /// Answers the former one of this name.
  mutating func put(_ claim: Claim) -> Claim? {
    let former = claims.updateValue(claim, forKey: claim.name)
    if former == nil { names.insert(claim.name) }
    let (before, now) = (former.flatMap { HeldFunction(of: $0) }, HeldFunction(of: claim))
    guard before != now else { return former }
    if let before { functions.remove(before) }
    if let now { functions.insert(now) }
    return former
  }

  mutating func remove(_ name: String) {
    guard let former = claims.removeValue(forKey: name) else { return }
    names.remove(name)
    if let function = HeldFunction(of: former) { functions.remove(function) }
  }

  /// Those whose names begin so, and come after another one.
  func claims(after name: String, prefix: String) -> some Sequence<Claim> {
    names.elements(from: Swift.max(name, prefix)).lazy.filter { $0 != name }.prefix { $0.hasPrefix(prefix) }
      .compactMap { claims[$0] }
  }

  /// The same of functions, by their ids.
  func functions(after id: String, prefix: String) -> some Sequence<Assignment> {
    functions.elements(from: HeldFunction(id: Swift.max(id, prefix), claim: "")).lazy.filter { $0.id != id }
      .prefix { $0.id.hasPrefix(prefix) }.compactMap { claims[$0.claim]?.status?.assignment }
  }
}

extension ListedClaims: Sequence {
  func makeIterator() -> some IteratorProtocol<Claim> { names.lazy.compactMap { claims[$0] }.makeIterator() }
}

/// A function that a claim has.
private struct HeldFunction: Comparable {
  var id: String
  var claim: String

  init?(of claim: Claim) {
    guard let assignment = claim.status?.assignment else { return nil }
    self.init(id: assignment.function, claim: claim.name)
  }

  init(id: String, claim: String) {
    self.id = id
    self.claim = claim
  }

  static func < (one: HeldFunction, other: HeldFunction) -> Bool { (one.id, one.claim) < (other.id, other.claim) }
}
