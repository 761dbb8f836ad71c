import Messages

/// One thing that outlives the coordinator's process.
public enum Record: Sendable, Hashable {
  /// Identity, epoch and revision.
  case cluster(Cluster)
  /// Without its state and lease: after a start nobody is connected.
  case host(Host)
  /// With the token counter and the control token, without what is in use.
  case endNode(EndNode)
  case claim(Claim)
  /// Without what it has in use.
  case tenant(Tenant)
  /// What one host was told of a claim's function, until that host has proven it absent.
  case wantedFunction(WantedFunction)

  public var key: RecordKey {
    switch self {
    case .cluster: RecordKey(.cluster, "")
    case .host(let host): RecordKey(.host, host.name)
    case .endNode(let node): RecordKey(.endNode, node.id)
    case .claim(let claim): RecordKey(.claim, claim.name)
    case .tenant(let tenant): RecordKey(.tenant, tenant.name)
    case .wantedFunction(let entry): RecordKey(.wantedFunction, entry.recordName)
    }
  }
}

public struct RecordKey: Sendable, Hashable, Comparable {
  /// The raw value stands in the store.
  public enum Kind: String, Sendable, Hashable, CaseIterable {
    case cluster
    case host
    case endNode = "end-node"
    case claim
    case tenant
    case wantedFunction = "wanted-function"
  }

  public var kind: Kind
  public var name: String

  public init(_ kind: Kind, _ name: String) {
    self.kind = kind
    self.name = name
  }

  public static func < (one: RecordKey, other: RecordKey) -> Bool {
    one.kind == other.kind ? one.name < other.name : one.kind.place < other.kind.place
  }
}

extension RecordKey.Kind {
  /// In the order of their names.
  fileprivate var place: Int {
    switch self {
    case .claim: 0
    case .cluster: 1
    case .endNode: 2
    case .host: 3
    case .tenant: 4
    case .wantedFunction: 5
    }
  }
}

extension Role {
  /// What the names of its entries begin with.
  fileprivate var place: String {
    switch self {
    case .direct: "1/"
    case .server: "2/"
    case .consumer: "3/"
    default: "\(rawValue)/"
    }
  }
}

extension WantedFunction {
  package var recordName: String { Self.recordName(role, functionID, assignment?.token) }

  /// A function's id holds the token that it was made under. An entry under another one (of a fencer, or of another host that
  /// serves the function by now) has a name of its own, so that both can be kept side by side.
  package static func recordName(_ role: Role, _ function: String, _ token: FencingToken?) -> String {
    let name = role.place + function
    guard let token = token?.value, let made = madeToken(of: function), made != token else { return name }
    return "\(name)#\(token)"
  }

  static func madeToken(of function: String) -> UInt64? {
    guard let slash = function.utf8.lastIndex(of: UInt8(ascii: "/")) else { return nil }
    return UInt64(function[function.utf8.index(after: slash)...])
  }

  static func withoutToken(_ name: String) -> String {
    guard let mark = name.utf8.lastIndex(of: UInt8(ascii: "#")), UInt64(name[name.utf8.index(after: mark)...]) != nil
    else { return name }
    return String(name[..<mark])
  }

  package var functionID: String { assignment?.function ?? "" }

  /// The host that this entry is for.
  var host: String {
    switch role {
    case .server, .fencer: assignment?.controllingHost ?? ""
    default: assignment?.host ?? ""
    }
  }
}
