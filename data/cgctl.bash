# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completion for cgctl(1). Verbs, options and keys come from cgctl itself, so that nothing here goes stale.

# Is a word an option or an option's value? The value follows in a word of its own, or after a "=" that is one.
_cgctl_is_option() {
        local valued='^(-[Hn]|--(host|json|from|limit|since|for|repeat|slo|domain|root|socket)|=)$'

        [[ ${COMP_WORDS[$1]} == [-=]* || ${COMP_WORDS[$1 - 1]} =~ $valued ]]
}

_cgctl() {
        local cur=${COMP_WORDS[COMP_CWORD]} verb= i j words=
        COMPREPLY=()

        for ((i = 1; i < COMP_CWORD; i++)); do
                _cgctl_is_option $i || break
        done
        ((i < COMP_CWORD)) && verb=${COMP_WORDS[i]}
        if [[ $verb == run ]]; then
                # From the command on it is the command's own matter, its options too.
                for ((j = i + 1; j < COMP_CWORD; j++)); do
                        _cgctl_is_option $j || break
                done
                if ((j < COMP_CWORD)) || ! _cgctl_is_option $j; then
                        _command_offset $j 2>/dev/null
                        return
                fi
        fi
        [[ $cur == = ]] && cur=
        if [[ $cur == -* ]]; then
                words=$(cgctl help ${verb:+"$verb"} 2>/dev/null | sed -n 's/^  [- ][A-Za-z ] \(--[a-z-]*\).*/\1/p')
        elif [[ -z $verb ]]; then
                words=$(cgctl help 2>/dev/null | sed -n '/^Verbs:/,/^$/s/^  \([a-z-]*\).*/\1/p')
        else
                case $verb in
                        explain)
                                words=$(cgctl explain --no-pager 2>/dev/null | sed -n 's/^  \([A-Za-z]*\)=.*/\1/p') ;;
                        cat|run)
                                words=$(cgctl domains --no-legend 2>/dev/null | awk 'NF == 0 { exit } { print $1 }') ;;
                        set-mode)
                                if ((COMP_CWORD == i + 1)); then
                                        words=$(cgctl domains --no-legend 2>/dev/null | awk 'NF == 0 { exit } { print $1 }')
                                else
                                        words="off monitor contain enforce policy"
                                fi ;;
                        why)
                                words=$(cgctl incidents --no-legend --limit=0 2>/dev/null | awk '/^ *[0-9]/ { print $1 }') ;;
                        place|release)
                                words=$(systemctl list-units --full --all --plain --no-legend --type=service 2>/dev/null |
                                        awk '{ print $1 }') ;;
                        tree)
                                words=$(systemctl list-units --full --plain --no-legend --type=slice,service 2>/dev/null |
                                        awk '{ print $1 }') ;;
                        drill)
                                words=$(cgctl drill list 2>/dev/null | awk '{ print $1 }') ;;
                        verify)
                                COMPREPLY=($(compgen -f -- "$cur"))
                                return ;;
                        help)
                                words=$(cgctl help 2>/dev/null | sed -n '/^Verbs:/,/^$/s/^  \([a-z-]*\).*/\1/p') ;;
                esac
        fi
        # Names of units have backslashes, which are quoted as they are put in.
        [[ $verb == @(place|release|tree) ]] && compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -W '$words' -- "$cur"))
}
complete -F _cgctl cgctl
