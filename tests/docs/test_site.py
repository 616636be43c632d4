"""The site: every page is reachable, links resolve, every package has its reference, it builds."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from repository_pages import find_pages, shown_file, translate_links
from snippet_utils import ROOT, pages

DOCS = ROOT / 'docs'

#: Packages whose names are documented on the page of another one, or that hold none of their own.
WITHOUT_PAGE = {
    'mmdense',
    'mmdense.apis.core_benchmarks',
    'mmdense.evaluation.boundary',
    'mmdense.evaluation.metrics',
    'mmdense.models',
}


def links_of(text):
    """Targets of Markdown links outside of code."""
    text = re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)
    text = re.sub(r'`[^`\n]*`', '', text)
    return re.findall(r'\]\((?![a-z]+:)([^)\s]+)\)', text)


def anchors_of(text):
    """Anchors of the headings, as code hosting sites and the site make them."""
    text = re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)
    titles = re.findall(r'^#+ (.+)$', text, re.M)
    return {re.sub(r'[^\w\- ]', '', title).strip().lower().replace(' ', '-') for title in titles}


@pytest.mark.parametrize('page', pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_of_the_page_lead_somewhere(page):
    text = page.read_text()
    for link in links_of(text):
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f'{link} does not exist'
        if anchor and target.suffix == '.md':
            assert anchor in anchors_of(target.read_text()), f'{link}: there is no such heading'


def test_every_readme_of_a_config_folder_or_project_is_a_page():
    shown = {shown_file(page) for page in DOCS.rglob('*.md')}
    wanted = {*ROOT.glob('configs/*/README.md'), *ROOT.glob('projects/*/README.md')}
    wanted = {path for path in wanted if path.parent.name != '_base_'}
    assert wanted <= shown
    assert all(path.is_file() for path in shown if path)


def test_every_page_is_in_a_toctree():
    named = {DOCS / 'index.md'}
    for page in DOCS.rglob('*.md'):
        for tree in re.findall(r'^```\{toctree\}\n(.*?)^```', page.read_text(), re.M | re.S):
            for line in tree.splitlines():
                if line and not line.startswith(':'):
                    named |= set(page.parent.glob(f'{line}.md'))
    missing = {str(page.relative_to(DOCS)) for page in set(DOCS.rglob('*.md')) - named}
    assert not missing, 'name them in a toctree of docs/index.md'


def test_every_package_is_in_the_reference():
    text = '\n'.join(page.read_text() for page in (DOCS / 'api').glob('*.md'))
    documented = set(re.findall(r'automodule:: (\S+)', text))
    packages = {
        '.'.join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / 'mmdense').rglob('__init__.py')
        if '__all__' in path.read_text() and '.mim' not in path.parts
    }
    assert packages - documented == WITHOUT_PAGE & packages


def test_links_are_translated_from_the_repository_to_the_site(tmp_path):
    docs, readme = tmp_path / 'docs', tmp_path / 'configs/x/README.md'
    for path in (readme, tmp_path / 'configs/x/a.py', docs / 'methods/x.md', docs / 'data.md'):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('')
    (docs / 'methods/x.md').write_text('<!-- page: ../../configs/x/README.md -->\n')
    text = (
        '[a](./a.py) [data](../../docs/data.md#here) [web](https://x.org/a.py) [own](#below)\n'
        '```\n[code](./a.py)\n```\n![folder](../x/)\n'
    )
    found = translate_links(text, readme, docs / 'methods/x.md', find_pages(docs))
    assert found == (
        '[a](../../configs/x/a.py) [data](../data.md#here) [web](https://x.org/a.py) '
        '[own](#below)\n```\n[code](./a.py)\n```\n![folder](x.md)\n'
    )


class Page(HTMLParser):
    """Links and anchors of a built page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs[key] for key in ('id', 'name') if attrs.get(key)}
        for key in ('href', 'src'):
            if attrs.get(key):
                self.links.append(attrs[key])


@pytest.mark.slow
def test_site_builds_without_a_warning_and_its_links_resolve(tmp_path):
    pytest.importorskip('furo')
    pytest.importorskip('myst_parser')
    out = tmp_path / 'site'
    done = subprocess.run(
        [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-b', 'html', DOCS, out],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    built = {path: Page(path.read_text()) for path in out.rglob('*.html')}
    assert len(built) > 60
    broken = []
    for path, page in built.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists() or (
                anchor and target in built and anchor not in built[target].anchors
            ):
                broken.append(f'{path.relative_to(out)}: {link}')
    assert not broken
    shown = (out / 'methods' / 'demt.html').read_text()
    assert 'What the released code computes' in shown  # the README, not the line that stands for it
    assert 'demt_swin-t_8xb1-40k_nyud-425x560.py' in shown
    assert 'class="sig' in (out / 'api' / 'necks.html').read_text()
