import Messages
import Testing

@testable import Selectors

/// Errors say where, what was found, and what to do.
@Suite struct ErrorTests {
  @Test(arguments: [
    // What cannot be read.
    ("", 1, "empty"),
    ("  ", 3, "empty"),
    (#"class = "sas""#, 7, "write =="),
    (#"class == "sas"#, 10, "no end"),
    (#"class == "sa\s""#, 13, "before a quote"),
    ("class == \"sa\ns\"", 13, "line breaks"),
    (#"class == "sas" & true"#, 16, "write and"),
    (#"class == "sas" | true"#, 16, "write or"),
    ("numa_node == -1", 14, "no negative"),
    ("free.functions / 2 > 3", 16, "no arithmetic"),
    ("free.functions > 3 §", 20, "means nothing"),
    (#"(class == "sas""#, 16, "'(' in column 1 is not closed"),
    (#"class == "sas")"#, 15, "no '('"),
    (#"class == "sas" AND true"#, 16, "did you mean 'and'?"),
    (#"class == "sas" true"#, 16, "joined with and, or"),
    ("1 < free.functions < 3", 20, "do not chain"),
    ("class ==", 9, "missing before the end"),
    ("class == and true", 10, "missing before 'and'"),
    ("true and", 9, "missing before the end"),
    (#"class in ["sas""#, 16, "',' or ']'"),
    (#"class in []"#, 11, "missing before ']'"),
    (#"class in [name]"#, 11, "a list holds values"),
    (#"(class) == "sas""#, 9, "parentheses group conditions"),
    (#"class == ("sas")"#, 10, "parentheses group conditions"),
    (#"class == ["sas"]"#, 10, "after in only"),
    (#"has("x")"#, 5, "is none"),
    ("has(class", 10, "')' is missing"),
    ("label == \"x\"", 1, "label.rack"),
    ("label.a.b == \"x\"", 8, "quoted"),
    ("label[rack] == \"x\"", 7, "label.rack"),
    ("free. > 2", 7, "a name is missing"),
    // What does not mean anything.
    (#"clas == "sas""#, 1, "did you mean class?"),
    ("functions > 2", 1, "capacity.functions or"),
    ("capacity > 2", 1, "did you mean capacity.functions"),
    ("colour == 2", 1, "they have label.NAME, class"),
    ("class == sas", 10, #"put it in quotes: "sas""#),
    (#"capacity.functions == "4""#, 23, "write a whole number, as in 4"),
    ("capacity.functions > 4G", 22, "without a unit"),
    ("capacity.size > 4X", 17, "512MiB"),
    ("capacity.size > 4Gbit", 17, "512MiB"),
    ("capacity.bandwidth > 4GiB", 22, "10Gbit"),
    (#"class == 4"#, 10, #"as in "4""#),
    (#"health == "fine""#, 11, "one of healthy, unhealthy, unknown"),
    (#"health == "Healthy""#, 11, #"did you mean "healthy""#),
    (#"multi_root == "yes""#, 15, "true or false"),
    (#"class == multi_root"#, 10, "cannot be compared"),
    ("capacity.size == capacity.functions", 18, "cannot be compared"),
    ("multi_root > false", 1, "no order"),
    ("health > \"healthy\"", 1, "no order"),
    (#"paths == "direct""#, 1, #"as in "…" in paths"#),
    ("paths == offers", 1, "a list"),
    (#""diret" in paths"#, 1, #"did you mean "direct""#),
    (#""sas" in class"#, 10, "no list"),
    (#"4 in paths"#, 1, #""direct""#),
    (#"paths in ["direct"]"#, 1, "is a list: ask"),
    (#"multi_root in roots"#, 1, "holds texts"),
    (#"class in "sas""#, 10, "a list"),
    (#"4 in labels"#, 1, "a label's name"),
    ("labels == 4", 1, "name one"),
    (#""a" == "a""#, 1, "both constants"),
    (#""a" in ["a"]"#, 1, "is a constant"),
    ("class", 1, "is no condition"),
    ("\"class\"", 1, "is no condition"),
    ("free.functions > 2 and not free.functions", 28, "has(free.functions)"),
  ])
  func pointAtTheColumn(text: String, column: Int, words: String) throws {
    let error = try #require(problem(with: text), "\(text) is taken")
    #expect(error.column == column, "\(error.message)")
    #expect(error.problem.contains(words), "\(error.message)")
  }

  @Test(arguments: [
    ("false", 1, "false is never so"),
    ("multi_root and not true", 20, "not true is never so"),
    (#"label.rack == "r1" and label.rack == "r2""#, 24, #"never so where label.rack == "r1" is: to take"#),
    (#"label.rack == "r1" and multi_root and label.rack in ["r2", "r3"]"#, 39, "join them with or"),
    ("free.functions > 5 and free.functions < 6", 24, "where free.functions > 5 is"),
    ("capacity.size > 1GiB and capacity.size <= 1048576KiB", 26, "where capacity.size > 1GiB is"),
    ("multi_root and !multi_root", 17, "where multi_root is"),
    ("has(driver) and not has(driver)", 25, "where has(driver) is"),
    ("used.size < used.size", 1, "is never so"),
    (#"(class == "a" and class == "b") or false"#, 19, "is never so where"),
    (#"class == "a" and (driver == "b" or driver == "c") and driver == "d""#, 55, "is never so where driver"),
    (#"class == "a" and (false or name == "x" and name == "y")"#, 19, "false is never so"),
  ])
  func whatIsNeverSo(text: String, column: Int, words: String) throws {
    let error = try #require(contradiction(in: text), "\(text) is taken to be possible")
    #expect(error.column == column, "\(error.message)")
    #expect(error.problem.contains(words), "\(error.message)")
  }

  @Test(arguments: [
    "true", "free.functions > 5 and free.functions < 7", "numa_node != 1 and numa_node != 0 and numa_node < 3",
    #"label.rack != "r1" and label.rack != "r2" and has(label.rack)"#, #"label.rack == "r1" or label.rack == "r2""#,
    #"label.rack == "r1" and label.row == "r2""#, #"firmware > "9" and firmware < "10""#, "free.size <= free.size",
    #""direct" in paths and "fabric" in paths"#, "not has(driver) and driver != \"x\"", "false or multi_root",
    #"not (label.rack == "r1" and label.rack == "r2")"#, "used.functions > 3 or false and true",
  ])
  func whatMayBeSoIsTaken(text: String) { #expect(contradiction(in: text) == nil) }

  @Test func theMessageShowsThePlace() {
    #expect(
      problem(with: #"multi_root and clas == "sas""#)?.message == """
        column 16: end nodes have no field 'clas'; did you mean class?
          multi_root and clas == "sas"
                         ^^^^
        """)
    #expect(
      problem(with: #"label.rack == "r1" and free.function > 2"#)?.message == """
        column 24: end nodes have no field 'free.function'; did you mean free.functions or used.functions?
          label.rack == "r1" and free.function > 2
                                 ^^^^^^^^^^^^^
        """)
  }

  @Test func ofALongConditionTheMessageShowsAPart() throws {
    let text = (1...60).map { #"name == "host-\#($0)/eth1""# }.joined(separator: " or ") + " or nam == 'ü'"
    let message = try #require(problem(with: text)?.message)
    let lines = message.split(separator: "\n")
    #expect(lines.count == 3 && lines.allSatisfy { $0.count < 120 })
    let before = lines[2].prefix { $0 == " " }.count
    #expect(lines[1].dropFirst(before).hasPrefix("nam =="))
    #expect(lines[1].hasPrefix("  …"))
  }

  @Test func charactersAreCountedAndNotBytes() {
    #expect(problem(with: #"name == "üüü" and clas == 'é'"#)?.column == 19)
  }

  @Test func whatIsTooLongOrTooDeepIsRefused() {
    let long = Array(repeating: "true", count: 900).joined(separator: " and ")
    #expect(problem(with: long)?.problem.contains("at most 4096 bytes") == true)
    let deep = { (count: Int) in String(repeating: "(", count: count) + "true" + String(repeating: ")", count: count) }
    #expect(problem(with: deep(31)) == nil)
    #expect(problem(with: deep(32))?.problem.contains("deeper than 32") == true)
    #expect(problem(with: deep(2000))?.problem.contains("deeper than 32") == true)
    #expect(problem(with: String(repeating: "!", count: 4000) + "true")?.column == 33)
  }
}
