use proptest::prelude::*;

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn rendered(text: &str) -> Result<String, String> {
    let labels = map(&[("app", "shop"), ("app.kubernetes.io/name", "web"), ("none", "")]);
    let annotations = map(&[("sub", "eu")]);
    let values = Values {
        name: "hello",
        namespace: "default",
        domain: "example.com",
        tag: "blue",
        labels: &labels,
        annotations: &annotations,
    };
    Template::parse(text)?.render(&values)
}

#[test]
fn values_stand_where_they_are_referred_to() {
    for (text, want) in [
        ("", ""),
        ("plain } text {", "plain } text {"),
        ("{{.Name}}.{{.Namespace}}.{{.Domain}}", "hello.default.example.com"),
        ("{{ .Tag }}-{{\t.Name\n}}", "blue-hello"),
        ("{{.Labels.app}}", "shop"),
        ("{{index .Labels \"app.kubernetes.io/name\"}}", "web"),
        ("{{ index .Annotations `sub` }}", "eu"),
        ("{{(index .Annotations \"sub\")}}", "eu"),
        ("{{index .Labels \"absent\"}}", ""),
        ("{{.Labels.none}}", ""),
        (r#"{{"a\"\\}}"}}"#, r#"a"\}}"#),
        ("{{/* a comment with }} in it */}}x", "x"),
        ("a {{- /* trimmed */ -}} b", "ab"),
        ("a {{- .Name -}} b", "ahellob"),
        ("a {{- .Name}} b", "ahello b"),
        ("a {{.Name -}} \t\r\n b", "a hellob"),
    ] {
        assert_eq!(rendered(text).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn conditions_choose() {
    for (text, want) in [
        ("{{if .Labels.app}}yes{{end}}", "yes"),
        ("{{if .Labels.absent}}yes{{else}}no{{end}}", "no"),
        ("{{if .Labels.none}}yes{{else}}no{{end}}", "no"),
        ("{{if index .Labels \"absent\"}}yes{{end}}", ""),
        ("{{if eq .Namespace \"default\"}}{{.Name}}{{else}}{{.Name}}.{{.Namespace}}{{end}}", "hello"),
        ("{{if eq .Namespace \"a\" \"default\"}}yes{{end}}", "yes"),
        ("{{if ne .Namespace \"default\"}}yes{{else}}no{{end}}", "no"),
        ("{{if eq .Labels.absent \"\"}}yes{{end}}", "yes"),
        ("{{if eq .Tag \"red\"}}1{{else if eq .Tag \"blue\"}}2{{else}}3{{end}}", "2"),
        ("{{if eq .Tag \"red\"}}1{{else if eq .Tag \"green\"}}2{{else}}3{{end}}", "3"),
        ("{{if not .Labels.absent}}yes{{end}}", "yes"),
        ("{{if and .Labels.app (eq .Tag \"blue\")}}yes{{end}}", "yes"),
        ("{{if and .Labels.app .Labels.absent}}yes{{else}}no{{end}}", "no"),
        ("{{if or .Labels.absent (not (eq .Tag \"red\"))}}yes{{end}}", "yes"),
        ("{{if .Tag}}{{if .Labels.absent}}1{{else}}2{{end}}{{end}}3", "23"),
        ("{{or (index .Annotations \"absent\") \"other\"}}", "other"),
        ("{{or .Labels.absent .Name}}", "hello"),
        ("{{and .Name .Tag}}", "blue"),
        ("{{eq .Tag \"blue\"}}{{not .Tag}}", "truefalse"),
        ("{{if eq (or .Labels.absent .Tag) \"blue\"}}yes{{end}}", "yes"),
    ] {
        assert_eq!(rendered(text).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn what_is_not_in_the_supported_language_is_named() {
    for (text, why) in [
        ("{{.Name", "{{ has no }}"),
        ("{{", "{{ has no }}"),
        ("{{}}{{/* x", "a comment has no end"),
        ("{{/* x */ .Name}}", "a comment is not alone in its {{ }}"),
        ("{{.Name | printf \"%s\"}}", "pipelines with | are not supported"),
        ("{{$x}}", "variables with $ are not supported"),
        ("{{\"a", "a text in \" \" has no end"),
        ("{{\"a\\", "a text in \" \" has no end"),
        ("{{\"a\n\"}}", "a text in \" \" has no end"),
        ("{{`a}}", "a text in ` ` has no end"),
        ("{{\"\\u0041\"}}", "the escape \\u is not supported"),
        ("{{lower .Name}}", "lower is not a function; want if, else, end, index, eq, ne, and, or, not"),
        (
            "{{range .Labels}}{{end}}",
            "range is not supported; want if, else, end, index, eq, ne, and, or, not",
        ),
        ("{{with .Name}}{{end}}", "with is not supported; want if, else, end, index, eq, ne, and, or, not"),
        ("{{if true}}{{end}}", "true is not supported; want if, else, end, index, eq, ne, and, or, not"),
        ("{{.Labels}}", ".Labels needs a key, as in .Labels.app"),
        (
            "{{.Labels.a.b}}",
            ".Labels.a.b does not exist; want .Name, .Namespace, .Domain, .Tag, .Labels.KEY or .Annotations.KEY",
        ),
        ("{{.}}", ". does not exist; want .Name, .Namespace, .Domain, .Tag, .Labels.KEY or .Annotations.KEY"),
        (
            "{{.Labels.app-name}}",
            "'-' is not supported; a key that has more than letters, digits and _ needs index, as in \
             {{index .Labels \"app.kubernetes.io/name\"}}",
        ),
        (
            "{{index .Name \"a\"}}",
            "index wants .Labels or .Annotations, and a key in quotes, as in {{index .Labels \"app\"}}",
        ),
        (
            "{{index .Labels .Name}}",
            "index wants .Labels or .Annotations, and a key in quotes, as in {{index .Labels \"app\"}}",
        ),
        ("{{if}}x{{end}}", "a value is missing"),
        ("{{if ()}}x{{end}}", "a value is missing before )"),
        ("{{if (.Name}}x{{end}}", "( has no )"),
        ("{{.Name)}}", ") has no ("),
        ("{{.Name .Tag}}", "a value stands where a function should"),
        ("{{if .Name}}", "{{if}} has no {{end}}"),
        ("{{if .Name}}{{else}}", "{{if}} has no {{end}}"),
        ("{{if .Name}}{{else}}{{else}}{{end}}", "{{else}} stands after {{else}}"),
        ("{{end}}", "{{end}} has no {{if}}"),
        ("{{else}}", "{{else}} has no {{if}}"),
        ("{{if .Name}}{{end .Name}}", "{{else}} and {{end}} stand alone"),
        ("{{eq .Name}}", "eq has the wrong number of operands"),
        ("{{ne .Name \"a\" \"b\"}}", "ne has the wrong number of operands"),
        ("{{not}}", "not has the wrong number of operands"),
        ("{{not .Name .Tag}}", "not has the wrong number of operands"),
        ("{{or}}", "or has the wrong number of operands"),
        ("{{and eq .Name \"a\"}}", "eq needs parentheses around it and its operands here"),
        ("{{eq (not .Name) \"true\"}}", "eq and ne compare texts only"),
        ("{{ne (eq .Name .Tag) \"true\"}}", "eq and ne compare texts only"),
    ] {
        assert_eq!(Template::parse(text), Err(why.to_owned()), "{text}");
    }
}

#[test]
fn what_is_printed_must_be_there() {
    assert_eq!(rendered("{{.Labels.absent}}"), Err("there is no absent in .Labels".to_owned()));
    assert_eq!(rendered("{{.Annotations.absent}}"), Err("there is no absent in .Annotations".to_owned()));
    assert_eq!(rendered("{{and .Name .Labels.absent}}"), Err("there is no absent in .Labels".to_owned()));
}

#[test]
fn size_and_depth_have_bounds() {
    assert!(Template::parse(&"a".repeat(LONGEST)).is_ok());
    let long = "a".repeat(LONGEST + 1);
    assert_eq!(Template::parse(&long).unwrap_err(), "it has 4097 bytes, more than 4096");
    let blocks = |depth: usize| format!("{}{}", "{{if .Name}}".repeat(depth), "{{end}}".repeat(depth));
    let parentheses = |depth: usize| format!("{{{{{}.Name{}}}}}", "(".repeat(depth), ")".repeat(depth));
    for deep in [blocks(16), parentheses(16)] {
        assert!(Template::parse(&deep).is_ok(), "{deep}");
    }
    for deep in
        [blocks(17), parentheses(17), "{{if .Name}}".repeat(300), format!("{{{{{}}}}}", "(".repeat(4000))]
    {
        let why = Template::parse(&deep).unwrap_err();
        assert_eq!(why, "more than 16 blocks or parentheses are within each other");
    }
    let labels = map(&[("big", &"x".repeat(3000))]);
    let values =
        Values { name: "", namespace: "", domain: "", tag: "", labels: &labels, annotations: &labels };
    let result = |text: &str| Template::parse(text).unwrap().render(&values);
    assert_eq!(result("{{.Labels.big}}").map(|text| text.len()), Ok(3000));
    assert_eq!(
        result("{{.Labels.big}}{{.Labels.big}}"),
        Err("the result is longer than 4096 bytes".to_owned())
    );
}

/// A template, and what it makes of the values of [`rendered`].
fn template() -> impl Strategy<Value = (String, String)> {
    let text = "[^{}]{0,8}".prop_map(|text| (text.clone(), text));
    let value = prop_oneof![
        Just(("{{.Name}}", "hello")),
        Just(("{{ index .Labels \"app\" }}", "shop")),
        Just(("{{or .Labels.absent \"z\"}}", "z")),
    ];
    let value = value.prop_map(|(text, made)| (text.to_owned(), made.to_owned()));
    prop_oneof![text, value].prop_recursive(6, 32, 3, |inner| {
        let condition = prop_oneof![
            Just((".Name", true)),
            Just((".Labels.absent", false)),
            Just(("eq .Tag \"blue\"", true)),
            Just(("and .Tag (ne .Tag `blue`)", false)),
        ];
        let choice =
            (condition, inner.clone(), inner.clone()).prop_map(|((condition, holds), (a, x), (b, y))| {
                (format!("{{{{if {condition}}}}}{a}{{{{else}}}}{b}{{{{end}}}}"), if holds { x } else { y })
            });
        let row = prop::collection::vec(inner, 0..3).prop_map(|all| all.into_iter().unzip());
        prop_oneof![choice, row]
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(\\{\\{|\\}\\}|-| |if|else|end|eq|index|\\.Name|\\.Labels|[()\"`|$/*]|\\PC){0,40}") {
        let _ = rendered(&text);
    }

    #[test]
    fn a_text_without_braces_is_itself(text in "[^{]{0,100}") {
        prop_assert_eq!(rendered(&text), Ok(text));
    }

    #[test]
    fn a_template_makes_of_its_parts_what_each_part_makes((text, made) in template()) {
        prop_assume!(text.len() <= LONGEST);
        prop_assert_eq!(rendered(&text), Ok(made));
    }
}
