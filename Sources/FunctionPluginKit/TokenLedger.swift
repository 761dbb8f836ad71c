import Services

/// What the plugin remembers of tokens, as a value: which requests may still be carried out.
///
/// Rules (all of them durable, see `LedgerFile`):
///  - A function obeys the highest token it has seen; a lower one is stale.
///  - Once a function was taken down or fenced under a token, nothing sets it up again under that token or a lower one:
///    a delayed duplicate must not resurrect it.
///  - One token means one set of parameters.
///  - Who has yielded control of an end node does not create, attach or serve its functions.
///  - How many functions a device is to make is said by who has control of it, and stays as it was said last.
struct TokenLedger: Sendable {
  struct Function: Sendable, Hashable {
    var endNode: String
    var highest: UInt64
    /// Everything up to this token was taken down or fenced.
    var released: UInt64
    /// The request that set it up; nil once the function is gone.
    var request: FunctionRequest?
  }

  struct EndNodeTokens: Sendable, Hashable {
    var control: UInt64 = 0
    var isControlYielded = false
    /// How many functions of its own the device is to make, as the coordinator said last; nil: it has not.
    var functionCount: UInt32?
    /// Functions of this end node that are not listed, and whose token is not above this one, were forgotten: refused.
    var forgotten: UInt64 = 0
  }

  /// Gone functions kept per end node. Older ones are summed up in `forgotten`, so that the ledger does not grow for ever;
  /// a request would have to be delayed past this many claims of one disk or card to be refused wrongly, never the reverse.
  static let goneFunctionsKept = 1024

  private(set) var functions: [String: Function] = [:]
  private(set) var endNodes: [String: EndNodeTokens] = [:]

  /// What has to be written before the verb may act; nil when nothing changes.
  typealias Change = LedgerRecord

  /// May `request` set up, change or adopt its function?
  func admit(_ request: FunctionRequest, verb: String) throws(LedgerError) -> Change? {
    let (assignment, token) = try Self.checked(request, verb: verb)
    let endNode = endNodes[assignment.endNode] ?? EndNodeTokens()
    if request.role != .consumer && endNode.isControlYielded {
      throw .controlYielded(verb: verb, endNode: assignment.endNode, token: endNode.control)
    }
    guard let known = functions[assignment.function] else {
      if token <= endNode.forgotten {
        throw .stale(verb: verb, function: assignment.function, token: token, highest: endNode.forgotten)
      }
      return .seen(Self.normalized(request))
    }
    if token <= known.released || token < known.highest {
      throw .stale(verb: verb, function: assignment.function, token: token, highest: known.highest)
    }
    let normalized = Self.normalized(request)
    if token == known.highest, let earlier = known.request {
      if let field = Self.difference(earlier, normalized) {
        throw .otherParameters(verb: verb, function: assignment.function, token: token, field: field)
      }
      // What may change under one token (the server's port, rates) is remembered in its newest form; where the function lies
      // was not known to the coordinator when it was made, and is not forgotten once it is.
      var newest = normalized
      newest.assignment?.extent = normalized.assignment?.extent ?? earlier.assignment?.extent
      return earlier == newest ? nil : .seen(newest)
    }
    return .seen(normalized)
  }

  /// May `request` take its function down or fence it?
  func release(_ request: FunctionRequest, verb: String) throws(LedgerError) -> Change? {
    let (assignment, token) = try Self.checked(request, verb: verb)
    guard let known = functions[assignment.function] else {
      let forgotten = endNodes[assignment.endNode]?.forgotten ?? 0
      // Taking down what is forgotten is harmless: it is gone, and its token is refused already.
      return token <= forgotten ? nil : .released(assignment.function, endNode: assignment.endNode, token: token)
    }
    if token < known.highest {
      throw .stale(verb: verb, function: assignment.function, token: token, highest: known.highest)
    }
    if token == known.released { return nil }
    return .released(assignment.function, endNode: assignment.endNode, token: token)
  }

  /// The function is gone: its request need not be kept. Not worth a change when it is not.
  func forget(_ function: String) -> Change? {
    guard let known = functions[function], known.request != nil else { return nil }
    return .gone(function)
  }

  func takeControl(_ endNode: String, token: UInt64) throws(LedgerError) -> Change? {
    try checkControl("TakeControl", endNode, token)
    let known = endNodes[endNode] ?? EndNodeTokens()
    if known.control == token && known.isControlYielded {
      // A yielded token is spent; control comes back under a new one.
      throw .staleControl(verb: "TakeControl", endNode: endNode, token: token, highest: known.control)
    }
    return known.control == token ? nil : .control(endNode, token: token, yielded: false)
  }

  func yieldControl(_ endNode: String, token: UInt64) throws(LedgerError) -> Change? {
    try checkControl("YieldControl", endNode, token)
    let known = endNodes[endNode] ?? EndNodeTokens()
    return known.control == token && known.isControlYielded ? nil : .control(endNode, token: token, yielded: true)
  }

  /// Only what was said under the token that is in force now.
  func setFunctionCount(_ endNode: String, _ count: UInt32?, token: UInt64) throws(LedgerError) -> Change? {
    try checkControl("TakeControl", endNode, token)
    return endNodes[endNode]?.functionCount == count ? nil : .functionCount(endNode, count)
  }

  private func checkControl(_ verb: String, _ endNode: String, _ token: UInt64) throws(LedgerError) {
    guard !endNode.isEmpty, token > 0 else { throw .incomplete(verb: verb, missing: "end node or control token") }
    let highest = endNodes[endNode]?.control ?? 0
    if token < highest { throw .staleControl(verb: verb, endNode: endNode, token: token, highest: highest) }
  }

  /// The highest token seen of any function of the end node, or of its control.
  func highestToken(of endNode: String) -> UInt64 {
    let tokens = functions.values.lazy.filter { $0.endNode == endNode }.map(\.highest)
    let known = endNodes[endNode] ?? EndNodeTokens()
    return max(tokens.max() ?? 0, known.control, known.forgotten)
  }

  /// Carries a change out; also how a ledger is built from its file.
  mutating func apply(_ change: Change) {
    switch change {
    case .seen(let request):
      guard let assignment = request.assignment else { return }
      let released = functions[assignment.function]?.released ?? 0
      functions[assignment.function] = Function(
        endNode: assignment.endNode, highest: assignment.token?.value ?? 0, released: released, request: request)
    case .released(let id, let endNode, let token):
      var known = functions[id] ?? Function(endNode: endNode, highest: 0, released: 0)
      known.released = max(known.released, token)
      known.highest = max(known.highest, token)
      functions[id] = known
      if known.request == nil { sumUp(endNode) }
    case .gone(let id):
      functions[id]?.request = nil
      if let endNode = functions[id]?.endNode { sumUp(endNode) }
    case .control(let endNode, let token, let yielded):
      endNodes[endNode, default: EndNodeTokens()].control = token
      endNodes[endNode]?.isControlYielded = yielded
    case .functionCount(let endNode, let count):
      endNodes[endNode, default: EndNodeTokens()].functionCount = count
    case .forgotten(let endNode, let token):
      endNodes[endNode, default: EndNodeTokens()].forgotten = token
    }
  }

  /// Everything as records, for a file that starts anew. Sorted, so that equal ledgers give equal files.
  var records: [LedgerRecord] {
    var records: [LedgerRecord] = []
    for (id, known) in endNodes.sorted(by: { $0.key < $1.key }) {
      if known.control > 0 { records.append(.control(id, token: known.control, yielded: known.isControlYielded)) }
      if let count = known.functionCount { records.append(.functionCount(id, count)) }
      if known.forgotten > 0 { records.append(.forgotten(id, token: known.forgotten)) }
    }
    for (id, known) in functions.sorted(by: { $0.key < $1.key }) {
      if let request = known.request { records.append(.seen(request)) }
      if known.released > 0 || known.request == nil {
        // Of a function that is gone nothing counts but the highest token; one in use may be above what was released.
        let token = known.request == nil ? known.highest : known.released
        records.append(.released(id, endNode: known.endNode, token: token))
      }
    }
    return records
  }

  private mutating func sumUp(_ endNode: String) {
    let gone = functions.filter { $0.value.endNode == endNode && $0.value.request == nil }
    guard gone.count > 2 * Self.goneFunctionsKept else { return }
    let oldest = gone.sorted { $0.value.highest < $1.value.highest }.prefix(gone.count - Self.goneFunctionsKept)
    for (id, known) in oldest {
      functions[id] = nil
      endNodes[endNode, default: EndNodeTokens()].forgotten = max(
        endNodes[endNode]?.forgotten ?? 0, known.highest)
    }
  }

  private static func checked(
    _ request: FunctionRequest, verb: String
  ) throws(LedgerError) -> (assignment: Assignment, token: UInt64) {
    guard let assignment = request.assignment else { throw .incomplete(verb: verb, missing: "assignment") }
    guard !assignment.function.isEmpty else { throw .incomplete(verb: verb, missing: "assignment.function") }
    guard let token = assignment.token?.value, token > 0 else {
      throw .incomplete(verb: verb, missing: "assignment.token")
    }
    return (assignment, token)
  }

  /// Without what is not a parameter: results of the verbs themselves.
  static func normalized(_ request: FunctionRequest) -> FunctionRequest {
    var request = request
    request.assignment?.arrival = nil
    return request
  }

  /// The first parameter in which two requests under one token differ.
  static func difference(_ earlier: FunctionRequest, _ now: FunctionRequest) -> String? {
    guard let earlierOne = earlier.assignment.map(fixedPart), let nowOne = now.assignment.map(fixedPart) else {
      return nil
    }
    if earlier.role != now.role { return "role" }
    if let before = earlier.assignment?.extent, let after = now.assignment?.extent, before != after { return "extent" }
    if earlierOne == nowOne { return nil }
    if earlierOne.claimUid != nowOne.claimUid { return "claim_uid" }
    if earlierOne.attributes != nowOne.attributes { return "attributes" }
    if earlierOne.consumer != nowOne.consumer { return "consumer" }
    if earlierOne.mediation != nowOne.mediation { return "mediation" }
    return "assignment"
  }

  /// Without what may change under one token: the port of a server that was started again, rates, and where the function lies,
  /// which is said once it is known.
  private static func fixedPart(_ assignment: Assignment) -> Assignment {
    var assignment = assignment
    assignment.arrival = nil
    assignment.mediation?.serverPort = 0
    assignment.attributes?.ethernet?.maxTransmitBitsPerSecond = nil
    assignment.attributes?.ethernet?.maxReceiveBitsPerSecond = nil
    assignment.attributes?.block?.removeLimits()
    assignment.extent = nil
    return assignment
  }
}

extension BlockAttributes {
  fileprivate mutating func removeLimits() {
    maxReadOperationsPerSecond = nil
    maxWriteOperationsPerSecond = nil
    maxReadBytesPerSecond = nil
    maxWriteBytesPerSecond = nil
    burstFactor = nil
    burstSeconds = nil
  }
}
