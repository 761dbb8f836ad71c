import BlockFunctions
import Configuration
import LinuxDevices

/// The configuration file: disks, and adapters that make virtual functions.
struct SASConfiguration: Sendable, Decodable {
  let disks: BlockConfiguration<SASDisks>
  let adapters: [AdapterSelection]

  private enum CodingKeys: String, CodingKey {
    case adapters
  }

  init(from decoder: any Decoder) throws {
    disks = try BlockConfiguration(from: decoder)
    adapters =
      try decoder.container(keyedBy: CodingKeys.self).decodeIfPresent([AdapterSelection].self, forKey: .adapters) ?? []
  }

  static let schema = BlockConfiguration<SASDisks>.schema(
    besides: """
      "adapters":{"type":"array","items":{"type":"object","additionalProperties":false,"required":["address"],"properties":{\
      "address":{"type":"string","description":"the adapter's SAS address"},\
      "virtualFunctions":{"type":"integer","minimum":0,"description":"how many it has (SR-IOV); without it, as many as are found"},\
      "labels":{"type":"object","additionalProperties":{"type":"string"}}}}}
      """)
}

/// An adapter whose virtual functions are given to those who drive them.
struct AdapterSelection: Sendable, Hashable, Decodable {
  var address: SASAddress
  /// Nil: as many as are found.
  var virtualFunctions: UInt32?
  var labels: [String: String]

  private enum CodingKeys: String, CodingKey {
    case address, virtualFunctions, labels
  }

  init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    let text = try values.decode(String.self, forKey: .address)
    guard let address = SASAddress(text) ?? SASAddress("0x" + text) else {
      throw InvalidValue("'\(text)' is no SAS address, such as 500605b00abc0001")
    }
    self.address = address
    virtualFunctions = try values.decodeIfPresent(UInt32.self, forKey: .virtualFunctions)
    labels = try values.decodeIfPresent([String: String].self, forKey: .labels) ?? [:]
  }
}
