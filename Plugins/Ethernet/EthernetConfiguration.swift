import Configuration

/// The plugin's configuration file.
struct EthernetConfiguration: Decodable, Sendable {
  /// The interfaces to share. None: this host owns no end node and still uses those of others.
  var endNodes: [InterfaceSelection]
  /// UDP port of VXLAN, the same on every host.
  var vxlanPort: UInt16
  /// The VLAN into which a card that cannot switch a function's link off puts one that is fenced. Nobody else may be in it.
  var fenceVLAN: UInt16

  static let defaultFenceVLAN: UInt16 = 4094
  static let defaultVXLANPort: UInt16 = 4789

  init(
    endNodes: [InterfaceSelection] = [], vxlanPort: UInt16 = Self.defaultVXLANPort,
    fenceVLAN: UInt16 = Self.defaultFenceVLAN
  ) {
    self.endNodes = endNodes
    self.vxlanPort = vxlanPort
    self.fenceVLAN = fenceVLAN
  }

  private enum CodingKeys: String, CodingKey { case endNodes, vxlanPort, fenceVLAN }

  init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    let entries = try values.decodeIfPresent([InterfaceEntry].self, forKey: .endNodes) ?? []
    endNodes = try entries.enumerated().map { index, entry in
      do {
        return try InterfaceSelection(entry)
      } catch let error as InvalidValue {
        throw InvalidValue("endNodes[\(index)]: \(error.message)")
      }
    }
    vxlanPort = try values.decodeIfPresent(UInt16.self, forKey: .vxlanPort) ?? Self.defaultVXLANPort
    fenceVLAN = try values.decodeIfPresent(UInt16.self, forKey: .fenceVLAN) ?? Self.defaultFenceVLAN
    guard (1...4094).contains(fenceVLAN) else { throw InvalidValue("fenceVLAN must be between 1 and 4094") }
    if vxlanPort == 0 { throw InvalidValue("vxlanPort must be between 1 and 65535") }
  }

  static let schema = """
    {"type": "object", "additionalProperties": false, "properties": {
      "endNodes": {"type": "array", "items": {"type": "object", "additionalProperties": false,
        "oneOf": [{"required": ["interface"]}, {"required": ["match"]}], "properties": {
          "interface": {"type": "string", "description": "name of an interface"},
          "match": {"type": "string", "description": "pattern of names; * stands for any characters, ? for one"},
          "labels": {"type": "object", "additionalProperties": {"type": "string"}},
          "functions": {"type": "integer", "minimum": 1, "default": 256},
          "hosts": {"type": "integer", "minimum": 1,
            "description": "that use functions of it at a time, however many each; default: as many as there are functions"},
          "queues": {"type": "integer", "minimum": 1,
            "description": "in each direction, that functions can ask for; default: any number"},
          "virtualFunctions": {"type": "integer", "minimum": 0,
            "description": "how many functions of its own the card is to make (SR-IOV); default: as it is found"},
          "bitsPerSecond": {"type": "integer", "minimum": 1, "description": "instead of the speed of the link"}}}},
      "vxlanPort": {"type": "integer", "minimum": 1, "maximum": 65535, "default": 4789},
      "fenceVLAN": {"type": "integer", "minimum": 1, "maximum": 4094, "default": 4094,
        "description": "where functions are put that are fenced, on cards that cannot switch their link off"}}}
    """
}

/// One entry of `endNodes` as it is written. Its keys are checked before its sense, so that a misspelt key is named as such.
private struct InterfaceEntry: Decodable {
  var interface: String?
  var match: String?
  var labels: [String: String]?
  var functions: UInt32?
  var hosts: UInt32?
  var queues: UInt32?
  var virtualFunctions: UInt32?
  var bitsPerSecond: UInt64?
}

/// Interfaces to share: one by its name, or all whose name matches a pattern.
struct InterfaceSelection: Sendable {
  enum Names: Sendable, Hashable {
    case exactly(String)
    case matching(String)
  }

  var names: Names
  var labels: [String: String]
  /// How many functions one interface gives, in software and of its own together.
  var functions: UInt32
  /// How many hosts use them at a time; nil: any number.
  var hosts: UInt32?
  /// How many functions can ask for together, in each direction; nil: any number.
  var queues: UInt32?
  /// How many of its own (SR-IOV) a card is to make; nil: as it is found.
  var virtualFunctions: UInt32?
  /// In each direction; nil: the speed of the link.
  var bitsPerSecond: UInt64?

  static let defaultFunctions: UInt32 = 256

  init(
    _ names: Names, labels: [String: String] = [:], functions: UInt32 = Self.defaultFunctions,
    hosts: UInt32? = nil, queues: UInt32? = nil, virtualFunctions: UInt32? = nil, bitsPerSecond: UInt64? = nil
  ) {
    self.names = names
    self.labels = labels
    self.functions = functions
    self.hosts = hosts
    self.queues = queues
    self.virtualFunctions = virtualFunctions
    self.bitsPerSecond = bitsPerSecond
  }

  fileprivate init(_ entry: InterfaceEntry) throws {
    let names: Names
    switch (entry.interface, entry.match) {
    case (let name?, nil): names = .exactly(name)
    case (nil, let pattern?): names = .matching(pattern)
    default: throw InvalidValue("either 'interface' (a name) or 'match' (a pattern) is needed, and not both")
    }
    if entry.functions == 0 { throw InvalidValue("functions must be at least 1") }
    if entry.hosts == 0 { throw InvalidValue("hosts must be at least 1") }
    if entry.queues == 0 { throw InvalidValue("queues must be at least 1") }
    if entry.bitsPerSecond == 0 { throw InvalidValue("bitsPerSecond must be at least 1") }
    self.init(
      names, labels: entry.labels ?? [:], functions: entry.functions ?? Self.defaultFunctions,
      hosts: entry.hosts, queues: entry.queues, virtualFunctions: entry.virtualFunctions,
      bitsPerSecond: entry.bitsPerSecond)
  }

  func selects(_ name: String) -> Bool {
    switch names {
    case .exactly(let wanted): name == wanted
    case .matching(let pattern): Self.matches(Array(name.utf8)[...], Array(pattern.utf8)[...])
    }
  }

  /// Names are at most 15 bytes, so going back over a star is cheap.
  private static func matches(_ name: ArraySlice<UInt8>, _ pattern: ArraySlice<UInt8>) -> Bool {
    guard let first = pattern.first else { return name.isEmpty }
    if first == UInt8(ascii: "*") {
      return (name.startIndex...name.endIndex).contains { matches(name[$0...], pattern.dropFirst()) }
    }
    guard let character = name.first, first == UInt8(ascii: "?") || first == character else { return false }
    return matches(name.dropFirst(), pattern.dropFirst())
  }
}
