import Configuration

/// The configuration file of a class of disks.
public struct BlockConfiguration<Class: DiskClass>: Sendable, Decodable {
  /// The block devices that are end nodes here; empty on a host that only uses functions of others.
  let endNodes: [DiskSelection]

  private enum CodingKeys: String, CodingKey {
    case endNodes
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    endNodes = try values.decodeIfPresent([DiskSelection].self, forKey: .endNodes) ?? []
    guard Class.countsFunctions || endNodes.allSatisfy({ $0.virtualFunctions == nil }) else {
      throw InvalidValue("'virtualFunctions' is given, and \(Class.name) disks make none: leave it out")
    }
  }

  /// - Parameter others: properties of the file beside `endNodes`, as JSON.
  public static func schema(besides others: String = "") -> String {
    """
    {"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,\
    "properties":{"endNodes":{"type":"array","items":{"type":"object","additionalProperties":false,\
    "oneOf":[{"required":["device"]},{"required":["match"]}],"properties":{\
    "device":{"type":"string","description":"a block device's path"},\
    "match":{"type":"string","description":"a pattern of paths, such as /dev/sd?"},\
    "labels":{"type":"object","additionalProperties":{"type":"string"}},\
    "functions":{"type":"integer","minimum":1,"default":\(Class.defaultFunctionLimit),"description":"functions at a time"},\
    "hosts":{"type":"integer","minimum":1,"default":\(Class.defaultHostLimit),"description":"hosts that use functions of it at a time, however many each"},\
    "operationsPerSecond":{"type":"integer","minimum":1,"description":"what each disk does for certain, reads and writes together; minimum rates are granted out of it. Without it none is"},\
    "bytesPerSecond":{"type":"integer","minimum":1,"description":"likewise, in bytes"},\
    "acceptExistingData":{"type":"boolean","default":false,"description":"a disk that carries data may be used, and its data is lost; only with device, by name"},\
    "virtualFunctions":{"type":"integer","minimum":0,"description":"how many the disk's drive has (SR-IOV); without it some are made when the first is needed"},\
    "scrub":{"enum":["zero","discard","sanitize","none"],"default":"zero","description":"how what a user left is taken off before somebody else gets the place"},\
    "scrubBytesPerSecond":{"type":"integer","minimum":1048576,"description":"cleaned at most, so that users of the disk's other parts are not held up; without it, as fast as the disk goes"},\
    "acceptUnscrubbed":{"type":"array","items":{"type":"string"},"description":"functions by their ids, whose place may be given on as it is"}\
    }}}\(others.isEmpty ? "" : "," + others)}}
    """
  }
}

/// One device, or all that match a pattern.
struct DiskSelection: Sendable, Decodable {
  enum Selection: Sendable, Hashable {
    case device(String)
    case match(String)
  }

  var selection: Selection
  var labels: [String: String]
  /// Functions at a time; nil: the class's default.
  var functionLimit: UInt32?
  /// Hosts that use functions at a time; nil: the class's default.
  var hostLimit: UInt32?
  /// What the disk does for certain, whatever is asked of it: minimum rates are granted out of it. Nil: nobody has said so, and it is
  /// not guessed. A disk's data sheet tells its best case, and a measurement would be of an empty one.
  var operationsPerSecond: UInt64?
  var bytesPerSecond: UInt64?
  /// The operator's word that a disk with data on it may be used, and the data lost.
  var acceptsExistingData: Bool
  /// Of the disk's drive; nil: some are made when the first is needed.
  var virtualFunctions: UInt32?
  var scrub: ScrubMethod
  /// Cleaned at most, each written and read; nil: as fast as the disk goes.
  var scrubBytesPerSecond: UInt64?
  /// The operator's word that what these functions' users left may be read by the next.
  var acceptedUnscrubbed: Set<String>

  /// Of what a claim holds, for claims from it.
  init(served device: String, acceptsExistingData: Bool) {
    selection = .device(device)
    labels = [:]
    self.acceptsExistingData = acceptsExistingData
    scrub = .zero
    acceptedUnscrubbed = []
  }

  private enum CodingKeys: String, CodingKey {
    case device, match, labels, functions, hosts, operationsPerSecond, bytesPerSecond, acceptExistingData,
      virtualFunctions, scrub, scrubBytesPerSecond, acceptUnscrubbed
  }

  init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    let device = try values.decodeIfPresent(String.self, forKey: .device)
    let match = try values.decodeIfPresent(String.self, forKey: .match)
    labels = try values.decodeIfPresent([String: String].self, forKey: .labels) ?? [:]
    functionLimit = try values.decodeIfPresent(UInt32.self, forKey: .functions)
    hostLimit = try values.decodeIfPresent(UInt32.self, forKey: .hosts)
    operationsPerSecond = try values.decodeIfPresent(UInt64.self, forKey: .operationsPerSecond)
    bytesPerSecond = try values.decodeIfPresent(UInt64.self, forKey: .bytesPerSecond)
    guard operationsPerSecond != 0, bytesPerSecond != 0 else {
      throw InvalidValue(
        "'\(operationsPerSecond == 0 ? "operationsPerSecond" : "bytesPerSecond")' is 0: leave it out where it is not known"
      )
    }
    acceptsExistingData = try values.decodeIfPresent(Bool.self, forKey: .acceptExistingData) ?? false
    virtualFunctions = try values.decodeIfPresent(UInt32.self, forKey: .virtualFunctions)
    scrub = try values.decodeIfPresent(String.self, forKey: .scrub).map { try ScrubMethod(configured: $0) } ?? .zero
    scrubBytesPerSecond = try values.decodeIfPresent(UInt64.self, forKey: .scrubBytesPerSecond)
    guard scrubBytesPerSecond ?? .max >= ExtentScrubber.slowestBytesPerSecond else {
      throw InvalidValue(
        "scrubBytesPerSecond is below \(ExtentScrubber.slowestBytesPerSecond): a disk would take years")
    }
    acceptedUnscrubbed = Set(try values.decodeIfPresent([String].self, forKey: .acceptUnscrubbed) ?? [])
    switch (device, match) {
    case (let device?, nil): selection = .device(device)
    case (nil, let match?): selection = .match(match)
    default: throw InvalidValue("an end node is named by 'device' or by 'match', one of the two")
    }
    if acceptsExistingData, case .match(let pattern) = selection {
      throw InvalidValue(
        "acceptExistingData stands with '\(pattern)': data is given up disk by disk, so name each by 'device'")
    }
    guard functionLimit != 0 else { throw InvalidValue("'functions' is 0: leave the end node out instead") }
    guard hostLimit != 0 else { throw InvalidValue("'hosts' is 0: leave the end node out instead") }
    guard (device ?? match ?? "").hasPrefix("/dev/") else {
      throw InvalidValue("'\(device ?? match ?? "")' is no path below /dev")
    }
  }
}
