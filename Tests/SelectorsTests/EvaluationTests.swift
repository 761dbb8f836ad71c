import Messages
import Testing

@testable import Selectors

@Suite struct EvaluationTests {
  @Test(arguments: [
    #"class == "ethernet""#, #"class != "sas""#, #"class in ["sas", "ethernet"]"#, #"class not in ["sas"]"#,
    #"label.rack == "r9""#, #"labels["example.com/tier"] == "gold""#, #""rack" in labels"#, "has(label.rack)",
    "has(labels.wan)", #"label.wan == """#, #""host-a" in roots"#, #"host in ["host-a"]"#, "host in roots",
    "numa_node == 1", #"driver == "mlx5_core""#, #"firmware >= "9.9""#, #"firmware < "22.32""#,
    #"serial == 'MT2116X08512'"#, #"eswitch_mode == "switchdev""#, #""representors" in offers"#, "own_functions > 8",
    "not multi_root", "!multi_root", "multi_root == false", #""direct" in paths and "mediated" in paths"#,
    #""fabric" not in paths"#, #""vxlan" in mediators"#, #""virtual_machine" in consumers"#,
    #""ethernet.vlan" in attributes && "ethernet.mtu" in attributes"#, #"not "ethernet.trust" in attributes"#,
    "capacity.functions == 8", "free.functions == 5", "used.functions == 3", "capacity.bandwidth >= 10G",
    "capacity.bandwidth == 25Gbit", "maximum_mtu >= 9000", #"health == "healthy""#, "true",
    "free.functions <= capacity.functions", "free.bandwidth == 15Gbit",
  ])
  func aCardIs(text: String) throws {
    #expect(try matches(text, card))
    #expect(try !matches("not (\(text))", card))
  }

  @Test(arguments: [
    #"class == "sas" and multi_root"#, "capacity.size == 1TiB", "capacity.size >= 1T", "capacity.size > 1TB",
    "free.size == 768GiB", "used.size > 0", "free.operations == 600", "free.throughput == 100MB/s",
    "capacity.throughput >= 100MB", #""host-c" in roots"#, #"health == "unhealthy""#, "block_size == 4KiB",
    #""file_server" in consumers"#, "free.functions > 1000000", #"label.rack > "r9""#,
    #"class == "sata" or class == "nvme" or class == "sas""#, "false or not false and true",
  ])
  func aDiskIs(text: String) throws {
    #expect(try matches(text, disk))
    #expect(try !matches("! (\(text))", disk))
  }

  /// Unlike in CEL, where asking for what is not there ends the search with an error.
  @Test(arguments: [
    "numa_node", "driver", "firmware", "label.owner", "capacity.bandwidth", "own_functions", "free.bandwidth",
  ])
  func whatIsNotThereIsEqualToNothing(field: String) throws {
    let isQuantity = ["numa_node", "capacity.bandwidth", "own_functions", "free.bandwidth"].contains(field)
    let value = isQuantity ? "1" : "\"1\""
    #expect(try !matches("has(\(field))", disk))
    for comparison in ["==", "<", "<=", ">", ">="] {
      #expect(try !matches("\(field) \(comparison) \(value)", disk), "\(comparison)")
    }
    #expect(try matches("\(field) != \(value)", disk))
    #expect(try !matches("\(field) in [\(value)]", disk))
    #expect(try matches("\(field) not in [\(value)]", disk))
  }

  @Test func andBindsCloserThanOrAndNotCloserThanAnd() throws {
    #expect(try matches("true or false and false", card))
    #expect(try !matches("(true or false) and false", card))
    #expect(try matches("not false and true", card))
    #expect(try !matches("not (false or true) and true", card))
    #expect(try matches(#"not class == "sas""#, card))
  }

  @Test(arguments: [
    ("r2", "r10", true), ("r10", "r2", false), ("9.1", "22.31", true), ("22.31.1014", "22.32", true), ("a", "b", true),
    ("", "a", true), ("a", "", false), ("1.0", "1", false), ("1", "1.0", true), ("007", "7", false),
    ("7", "007", false),
    ("x9y", "x10", true), ("99999999999999999999999", "100000000000000000000000", true), ("Z", "a", true),
  ])
  func textsAreOrderedAsVersionsAre(one: String, other: String, isLess: Bool) {
    #expect(Comparison.isLess(one, other) == isLess)
  }

  @Test func whatChangesWithUseIsKnown() throws {
    #expect(try Selector("free.functions > 2", Vocabulary<EndNode>.endNodes).changesWithUse)
    #expect(try Selector(#"true or health == "healthy""#, Vocabulary<EndNode>.endNodes).changesWithUse)
    #expect(try !Selector(#"capacity.functions > 2 and has(label.rack)"#, Vocabulary<EndNode>.endNodes).changesWithUse)
  }

  @Test func everyFieldCanBeAskedForAndHasAMeaning() throws {
    for field in Vocabulary<EndNode>.endNodes.fields {
      _ = try matches("has(\(field.name))", card)
      #expect(!field.meaning.isEmpty && !field.type.words.isEmpty)
    }
  }
}
