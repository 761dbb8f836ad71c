import Messages
import Selectors

/// The conditions that claims state, each compiled once, for claims are looked at much more often than they are made.
struct ClaimSelectors<Subject>: Triable {
  private struct Entry {
    /// Nil: written for another version, with words that this one does not know.
    var selector: Selector<Subject>?
    var problem = ""
    var claims: Set<String> = []
  }

  private let vocabulary: Vocabulary<Subject>
  private var entries: [String: Entry] = [:]
  /// The claims whose end nodes may be others when functions come and go.
  private var dependingOnUse: Set<String> = []
  /// What has come and gone since each trial began, in order. Not what the entries were: one condition may be that of very many
  /// claims.
  private var tried: [[(text: String, claim: String, hasCome: Bool)]] = []

  init(_ vocabulary: Vocabulary<Subject>) { self.vocabulary = vocabulary }

  mutating func insert(_ text: String, of claim: String) {
    guard !text.isEmpty else { return }
    if entries[text] == nil { entries[text] = entry(text) }
    let hasCome = entries[text]?.claims.insert(claim).inserted ?? false
    if hasCome { note(text, claim, hasCome: true) }
    if entries[text]?.selector?.changesWithUse ?? false { dependingOnUse.insert(claim) }
  }

  mutating func remove(_ text: String, of claim: String) {
    let hasGone = entries[text]?.claims.remove(claim) != nil
    if hasGone { note(text, claim, hasCome: false) }
    if entries[text]?.claims.isEmpty ?? false { entries[text] = nil }
    dependingOnUse.remove(claim)
  }

  private mutating func note(_ text: String, _ claim: String, hasCome: Bool) {
    if !tried.isEmpty { tried[tried.count - 1].append((text, claim, hasCome)) }
  }

  mutating func beginTrial() { tried.append([]) }

  mutating func endTrial(keeping: Bool) {
    let last = tried.popLast() ?? []
    guard !keeping else {
      if !tried.isEmpty { tried[tried.count - 1] += last }
      return
    }
    let around = tried
    for change in last.reversed() {
      if change.hasCome { remove(change.text, of: change.claim) } else { insert(change.text, of: change.claim) }
    }
    // What is taken back has not been for a trial around it.
    tried = around
  }

  var isEmpty: Bool { entries.isEmpty && dependingOnUse.isEmpty }
  var isAnyDependingOnUse: Bool { !dependingOnUse.isEmpty }

  private func entry(_ text: String) -> Entry {
    do throws(SelectorError) { return Entry(selector: try Selector(text, vocabulary)) } catch {
      return Entry(problem: error.message)
    }
  }

  /// Throws what is wrong with a condition, or why nothing ever meets it.
  func check(_ text: String) throws(SelectorError) {
    // Others have stated it.
    if let known = entries[text]?.selector, known.contradiction == nil { return }
    if let contradiction = try Selector(text, vocabulary).contradiction { throw contradiction }
  }

  /// Nothing is said of what states no condition, so that everything meets it.
  func matches(_ text: String, _ subject: Subject) -> Bool {
    text.isEmpty || entries[text]?.selector?.matches(subject) ?? false
  }

  func changesWithUse(_ text: String) -> Bool { entries[text]?.selector?.changesWithUse ?? false }

  /// Whether it meets the condition or, by what changes with use, may do so another time.
  func mayMatch(_ text: String, _ subject: Subject) -> Bool { changesWithUse(text) || matches(text, subject) }

  /// What there is of the condition that is not so; nil if all of it is.
  func obstacle(_ text: String, _ subject: Subject) -> SelectionObstacle? {
    guard !text.isEmpty else { return nil }
    guard let entry = entries[text], let selector = entry.selector else {
      return .ofAnotherVersion(entries[text]?.problem ?? "")
    }
    return selector.failing(for: subject).map { .notSo($0) }
  }
}

enum SelectionObstacle {
  /// A part of the condition.
  case notSo(String)
  case ofAnotherVersion(String)
}

extension Arbiter {
  /// Throws what of the claim's selection the end node does not meet just now.
  func checkSelection(of node: EndNodeState, by specification: ClaimSpecification) throws(Drop) {
    if specification.endNode == nil, specification.selector.isEmpty { return }
    guard isNamed(node, by: specification.endNode) else {
      throw Drop(.selector, "\(node.record.name) is not what the claim selects")
    }
    switch selectors.obstacle(specification.selector, node) {
    case .notSo(let part):
      throw Drop(.selector, "\(node.record.name) is not what the claim selects: it is not \(part)")
    case .ofAnotherVersion(let problem): throw Drop(.selector, "its selector is of another version: \(problem)")
    case nil: return
    }
  }

  func isSelected(_ node: EndNodeState, by specification: ClaimSpecification) -> Bool {
    // Most claims select none.
    if specification.endNode == nil, specification.selector.isEmpty { return true }
    return isNamed(node, by: specification.endNode) && selectors.matches(specification.selector, node)
  }

  /// Whether it may be selected at some time: what changes with use may change.
  func isEverSelected(_ node: EndNodeState, by specification: ClaimSpecification) -> Bool {
    isNamed(node, by: specification.endNode) && selectors.mayMatch(specification.selector, node)
  }

  private func isNamed(_ node: EndNodeState, by selector: EndNodeSelector?) -> Bool {
    guard let selector else { return true }
    let record = node.record
    return (selector.name.isEmpty || selector.name == record.name || selector.name == record.id)
      && (selector.host.isEmpty || record.isRoot(selector.host))
      && selector.labels.allSatisfy { record.labels[$0.key] == $0.value }
  }

  func validateSelector(_ specification: ClaimSpecification) throws(Refusal) {
    guard !specification.selector.isEmpty else { return }
    do throws(SelectorError) { try selectors.check(specification.selector) } catch {
      throw Refusal(.invalidArgument, "the selector, \(error.message)")
    }
  }

  mutating func keepSelectors(of specification: ClaimSpecification, for claim: String) {
    selectors.insert(specification.selector, of: claim)
    hostSelectors.insert(specification.hostSelector, of: claim)
  }

  mutating func dropSelectors(of specification: ClaimSpecification, for claim: String) {
    selectors.remove(specification.selector, of: claim)
    hostSelectors.remove(specification.hostSelector, of: claim)
  }

  /// More of an end node is in use. A claim may wait for just that: used.functions > 0.
  mutating func noteUse(of endNode: String) {
    if selectors.isAnyDependingOnUse { changes.openings.endNodes.insert(endNode) }
  }
}

extension EndNodeState: EndNodeFacts {
  var healthState: HealthState { health.state }
  var functionsInUse: UInt64 { UInt64(shares.count) }
  var usingHosts: UInt64 { UInt64(hostsInUse) }
  var bytesInUse: UInt64 { usedSizeBytes }
  var promisedBits: UInt64 { usedRates.bitsPerSecond }
  var promisedOperations: UInt64 { usedRates.operationsPerSecond }
  var promisedBytes: UInt64 { usedRates.bytesPerSecond }
  var promisedQueues: UInt64 { usedRates.queues }
}
